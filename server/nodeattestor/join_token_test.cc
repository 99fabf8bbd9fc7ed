// SPDX-License-Identifier: Apache-2.0

// Goal: a join token lets exactly one agent in, once. Method: a real SQLite store and a hundred
// attempts at the same time.

#include "server/nodeattestor/join_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/io/worker_pool.h"
#include "lib/sql/database.h"
#include "server/datastore/sql_datastore.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr std::string_view kSpent =
    "failed to attest: join token does not exist or has already been used";

class JoinTokenTest : public testing::Test {
 protected:
  void add(const std::string& token, Duration lives = hours(1)) {
    ASSERT_TRUE(
        store_->create_join_token({token, to_unix_seconds(clock_.now() + lives)}, std::nullopt)
            .ok());
  }
  // As the API does it: the attestor says who the agent is, and storing it spends the token.
  Result<AgentAttributes> attest(ByteView token) {
    auto agent = std::get<AgentAttributes>(TRY(attestor_->begin({})->start(token)));
    EXPECT_EQ(agent.join_token, token);
    Attested attested = TRY(store_->attest_node({.node = {.spiffe_id = agent.agent_id,
                                                          .attestation_type = "join_token",
                                                          .serial = "1",
                                                          .not_after = 1},
                                                 .join_token = agent.join_token}));
    if (attested != Attested::kYes) {
      return invalid_argument(std::string(kJoinTokenGone));
    }
    return agent;
  }

  FakeClock clock_;
  SeededRandom random_{3};
  spiffe::TrustDomain domain_ = spiffe::TrustDomain::parse("example.org").take();
  std::unique_ptr<Datastore> store_ =
      open_sql_datastore(std::shared_ptr(sql::open_memory_database().take()), clock_, random_)
          .take();
  std::unique_ptr<NodeAttestor> attestor_ = join_token_attestor(domain_, *store_, clock_);
};

TEST_F(JoinTokenTest, GivesTheIdOfTheTokenAndCannotReattest) {
  add("c0ffee");
  auto attributes = attest("c0ffee");
  ASSERT_TRUE(attributes.ok()) << attributes.error().message;
  EXPECT_EQ(attributes->agent_id.text(), "spiffe://example.org/spire/agent/join_token/c0ffee");
  EXPECT_FALSE(attributes->can_reattest);
  EXPECT_TRUE(attributes->selectors.empty());
}

TEST_F(JoinTokenTest, SecondUseAndUnknownTokensAreInvalid) {
  add("c0ffee");
  ASSERT_TRUE(attest("c0ffee").ok());
  for (const std::string& token :
       {std::string("c0ffee"), std::string("other"), std::string(), std::string(300, 'a')}) {
    auto refused = attest(token);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_EQ(refused.error().message, kSpent);
  }
}

TEST_F(JoinTokenTest, AnExpiredTokenIsRefusedAndSpent) {
  add("late", seconds(10));
  clock_.advance(seconds(11));
  EXPECT_EQ(attest("late").error().message, "join token expired");
  EXPECT_EQ(attest("late").error().message, kSpent);
}

TEST_F(JoinTokenTest, ThereIsNoChallenge) {
  EXPECT_EQ(attestor_->begin({})->challenge_response("x").error().code, Code::kInvalidArgument);
}

TEST_F(JoinTokenTest, ATokenThatIsNoPathSegmentGivesNoId) {
  EXPECT_FALSE(join_token_agent_id(domain_, "a/b").ok());
  EXPECT_FALSE(join_token_agent_id(domain_, "..").ok());
  EXPECT_FALSE(join_token_agent_id(domain_, "a b").ok());
  EXPECT_FALSE(join_token_agent_id(domain_, "").ok());
}

TEST_F(JoinTokenTest, OfAHundredAttemptsAtOnceExactlyOneGoesThrough) {
  for (int round = 0; round < 5; ++round) {
    const std::string token = "token-" + std::to_string(round);
    add(token);
    std::atomic<int> through = 0;
    std::atomic<int> refused = 0;
    {
      io::WorkerPool pool({.threads = 8, .queue_max = 200});
      for (int i = 0; i < 100; ++i) {
        auto submitted = pool.submit([&] {
          auto result = attest(token);
          if (result.ok()) {
            ++through;
          } else if (result.error().message == kSpent) {
            ++refused;
          }
        });
        ASSERT_TRUE(submitted.ok());
      }
    }  // runs what is queued and joins
    EXPECT_EQ(through, 1);
    EXPECT_EQ(refused, 99);
  }
}

}  // namespace
}  // namespace steeple::server
