// SPDX-License-Identifier: Apache-2.0

// Goal: the policy table denies by default and the limiter keeps its rates. Method: the table is
// compared with the clauses it implements; time is injected.

#include <gtest/gtest.h>

#include "lib/base/fake_clock.h"
#include "server/authz/policy.h"
#include "server/authz/rate_limiter.h"

namespace steeple::server {
namespace {

using namespace std::chrono_literals;

TEST(Policy, UnknownMethodsAreDeniedToEverybody) {
  EXPECT_EQ(classes_allowed("/spire.api.server.entry.v1.Entry/Nonsense"), 0);
  EXPECT_EQ(classes_allowed(""), 0);
  EXPECT_EQ(classes_allowed("/zzz"), 0);
}

TEST(Policy, OnlyAttestationAndTheBundleAreOpenToAnybody) {
  int open = 0;
  for (const PolicyRule& rule : policy_rules()) {
    EXPECT_EQ(classes_allowed(rule.method), rule.classes) << rule.method;
    EXPECT_NE(rule.classes, 0) << rule.method;
    open += allows(rule.classes, CallerClass::kAny) ? 1 : 0;
  }
  EXPECT_EQ(open, 2);
  EXPECT_TRUE(
      allows(classes_allowed("/spire.api.server.agent.v1.Agent/AttestAgent"), CallerClass::kAny));
  EXPECT_TRUE(
      allows(classes_allowed("/spire.api.server.bundle.v1.Bundle/GetBundle"), CallerClass::kAny));
}

TEST(Policy, AgentsCannotMintAndAdminsCannotActAsAgents) {
  auto mint = classes_allowed("/spire.api.server.svid.v1.SVID/MintX509SVID");
  EXPECT_FALSE(allows(mint, CallerClass::kAgent));
  EXPECT_TRUE(allows(mint, CallerClass::kAdmin));
  auto sync = classes_allowed("/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries");
  EXPECT_EQ(sync, static_cast<CallerClasses>(CallerClass::kAgent));
}

TEST(RateLimiter, CallersWaitForTheirTurnAndOthersDoNot) {
  FakeClock clock;
  RateLimiter limiter(clock, 1);
  EXPECT_EQ(limiter.reserve("10.0.0.1", 1, SteadyTime::max()).value(), 0s);
  EXPECT_EQ(limiter.reserve("10.0.0.1", 1, SteadyTime::max()).value(), 1s);
  EXPECT_EQ(limiter.reserve("10.0.0.1", 1, SteadyTime::max()).value(), 2s);
  EXPECT_EQ(limiter.reserve("10.0.0.2", 1, SteadyTime::max()).value(), 0s);
  clock.advance(3s);
  EXPECT_EQ(limiter.reserve("10.0.0.1", 1, SteadyTime::max()).value(), 0s);
}

TEST(RateLimiter, WhatCanNeverFitOrCannotFitInTimeIsRefused) {
  FakeClock clock;
  RateLimiter limiter(clock, 500);
  EXPECT_EQ(limiter.reserve("a", 501, SteadyTime::max()).error().message,
            "rate (501) exceeds burst size (500)");
  EXPECT_EQ(limiter.reserve("a", 500, SteadyTime::max()).value(), 0s);
  auto late = limiter.reserve("a", 500, clock.steady() + 500ms);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, Code::kResourceExhausted);
  // The refused call took nothing.
  clock.advance(1s);
  EXPECT_EQ(limiter.reserve("a", 500, clock.steady()).value(), 0s);
}

TEST(RateLimiter, IdleAddressesAreForgotten) {
  FakeClock clock;
  RateLimiter limiter(clock, 10);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(limiter.reserve(std::to_string(i), 1, SteadyTime::max()).ok());
    clock.advance(1ms);
  }
  EXPECT_LE(limiter.addresses(), 1025U);
}

}  // namespace
}  // namespace steeple::server
