// SPDX-License-Identifier: Apache-2.0

// Goal: the thresholds are the reference's to the second. Method: arithmetic.

#include "server/ca/rotation.h"

#include <gtest/gtest.h>

#include "server/ca/profile.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

const WallTime kIssued = from_unix_seconds(1'893'456'000);

TEST(RotationThresholds, ADayIsPreparedAtHalfAndActivatedAtFiveSixths) {
  EXPECT_EQ(preparation_time(kIssued, kIssued + hours(24)), kIssued + hours(12));
  EXPECT_EQ(activation_time(kIssued, kIssued + hours(24)), kIssued + hours(20));
}

TEST(RotationThresholds, LongLivesAreCappedAtThirtyAndSevenDays) {
  const WallTime end = kIssued + hours(24) * 365;
  EXPECT_EQ(preparation_time(kIssued, end), end - hours(24) * 30);
  EXPECT_EQ(activation_time(kIssued, end), end - hours(24) * 7);
}

TEST(RotationThresholds, CapsBeginAtSixtyAndFortyTwoDays) {
  const WallTime sixty = kIssued + hours(24) * 60;
  EXPECT_EQ(preparation_time(kIssued, sixty), sixty - hours(24) * 30);
  EXPECT_EQ(preparation_time(kIssued, sixty - seconds(2)), kIssued + (hours(24) * 30 - seconds(1)));
  const WallTime forty_two = kIssued + hours(24) * 42;
  EXPECT_EQ(activation_time(kIssued, forty_two), forty_two - hours(24) * 7);
  EXPECT_EQ(activation_time(kIssued, forty_two - seconds(6)),
            forty_two - hours(24) * 7 - seconds(5));
}

TEST(RotationThresholds, SvidLifetimesThatRotationNeverCutsShort) {
  EXPECT_EQ(max_svid_ttl_for_ca_ttl(hours(24)), hours(4));
  EXPECT_EQ(max_svid_ttl_for_ca_ttl(hours(24) * 365), hours(24) * 7);
  EXPECT_EQ(min_ca_ttl_for_svid_ttl(hours(5)), hours(30));
}

}  // namespace
}  // namespace steeple::server
