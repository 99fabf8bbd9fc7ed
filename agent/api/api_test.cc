// SPDX-License-Identifier: Apache-2.0

// The pure parts of the APIs. Calls and streams are tested with a whole agent
// (agent/agent_test.cc).

#include <gtest/gtest.h>

#include "agent/api/rate_limit.h"
#include "agent/api/workload_session.h"
#include "lib/base/fake_clock.h"

namespace steeple::agent {
namespace {

using namespace std::chrono_literals;

TEST(RateLimitTest, AllowsABurstThenSoManyPerSecond) {
  FakeClock clock;
  RateLimit limit(3, clock);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(limit.allow("a"));
  }
  EXPECT_FALSE(limit.allow("a"));
  EXPECT_TRUE(limit.allow("b")) << "each its own";
  clock.advance(334ms);
  EXPECT_TRUE(limit.allow("a"));
  EXPECT_FALSE(limit.allow("a"));
  clock.advance(1h);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(limit.allow("a"));
  }
  EXPECT_FALSE(limit.allow("a")) << "time saves up no more than the burst";
}

TEST(RateLimitTest, ForgetsCallersThatAreFullAgainAndNeverHoldsTooMany) {
  FakeClock clock;
  RateLimit limit(1, clock);
  for (std::size_t i = 0; i < kRateBucketsMax; ++i) {
    EXPECT_TRUE(limit.allow(std::to_string(i)));
  }
  EXPECT_FALSE(limit.allow("one more"));
  clock.advance(2s);
  EXPECT_TRUE(limit.allow("one more"));
  EXPECT_EQ(limit.size(), 1U);
}

TEST(RateLimitTest, ZeroIsNoLimit) {
  FakeClock clock;
  RateLimit limit(0, clock);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(limit.allow("a"));
  }
}

const spiffe::TrustDomain kOwn = spiffe::TrustDomain::parse("example.org").take();

TEST(ValidationResponse, KeepsAllClaimsOfTheOwnTrustDomain) {
  auto response = validation_response(
      R"({"sub":"spiffe://example.org/a","aud":"x","exp":1.5,"foo":{"bar":[1,null]}})",
      spiffe::SpiffeId::parse("spiffe://example.org/a").take(), kOwn, {});
  ASSERT_TRUE(response.ok()) << response.error().message;
  const auto& fields = response->claims().fields();
  EXPECT_EQ(fields.size(), 4U);
  EXPECT_EQ(fields.at("aud").list_value().values(0).string_value(), "x");
  EXPECT_EQ(fields.at("exp").number_value(), 1.5);
}

TEST(ValidationResponse, FiltersClaimsOfForeignTokens) {
  auto response = validation_response(
      R"({"sub":"spiffe://other.org/a","aud":["x"],"exp":1,"iat":1,"foo":1,"bar":2})",
      spiffe::SpiffeId::parse("spiffe://other.org/a").take(), kOwn, {"bar"});
  ASSERT_TRUE(response.ok());
  const auto& fields = response->claims().fields();
  EXPECT_EQ(fields.size(), 4U);
  EXPECT_TRUE(fields.contains("bar"));
  EXPECT_FALSE(fields.contains("iat"));
  EXPECT_FALSE(fields.contains("foo"));
}

}  // namespace
}  // namespace steeple::agent
