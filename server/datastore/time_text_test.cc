// SPDX-License-Identifier: Apache-2.0

// Goal: times are written as SPIRE writes them and read in every form its driver reads.

#include "server/datastore/time_text.h"

#include <gtest/gtest.h>

namespace steeple::server {
namespace {

TEST(TimeText, IsWrittenWithoutTrailingZerosOfTheFraction) {
  auto at = from_unix_seconds(1795334215);
  EXPECT_EQ(time_text(at), "2026-11-22 07:56:55+00:00");
  EXPECT_EQ(time_text(at + Duration(916'038'692)), "2026-11-22 07:56:55.916038692+00:00");
  EXPECT_EQ(time_text(at + Duration(500'000'000)), "2026-11-22 07:56:55.5+00:00");
  EXPECT_EQ(time_text(std::int64_t{-1}).take(), "1969-12-31 23:59:59+00:00");
  EXPECT_EQ(time_text(std::int64_t{253'402'300'799}).take(), "9999-12-31 23:59:59+00:00");
  EXPECT_FALSE(time_text(std::int64_t{253'402'300'800}).ok());
  EXPECT_FALSE(time_text(std::numeric_limits<std::int64_t>::min()).ok());
}

TEST(TimeText, IsReadInEveryFormOfTheReference) {
  for (const char* text :
       {"2026-11-22 07:56:55+00:00", "2026-11-22T07:56:55Z", "2026-11-22 07:56:55",
        "2026-11-22 09:56:55+02:00", "2026-11-22 02:26:55-05:30"}) {
    auto value = parse_time_text(text);
    ASSERT_TRUE(value.ok()) << text;
    EXPECT_EQ(value->seconds, 1795334215) << text;
  }
  EXPECT_EQ(parse_time_text("2026-11-22")->seconds, 1795305600);
  EXPECT_EQ(parse_time_text("2026-11-22 07:56")->seconds, 1795334160);
  EXPECT_EQ(parse_time_text("0001-01-01 00:00:00+00:00")->seconds, -62'135'596'800);
  auto fraction = parse_time_text("2026-11-22 07:56:55.5+00:00").take();
  EXPECT_EQ(fraction.nanoseconds, 500'000'000);
  EXPECT_EQ(fraction.rounded(), 1795334216);
}

TEST(TimeText, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "yesterday", "2026-13-01", "2026-02-30", "2026-11-22 25:00:00", "2026-11-22 07:61:00",
        "2026-11-22 07:56:55.", "2026-11-22 07:56:55+0000", "2026-11-22 07:56:55 ",
        "2026-11-22 07:56:55Zx", "20261122", "2026-11-22 07:56:55.1234567890Z"}) {
    EXPECT_FALSE(parse_time_text(text).ok()) << text;
  }
}

}  // namespace
}  // namespace steeple::server
