// SPDX-License-Identifier: Apache-2.0

// Goal: what an attestation writes is written whole, once, and is on disk when it is acknowledged,
// also when many share a commit. Method: the contract fixture, many threads, a new store on the
// same file.

#include <atomic>

#include "lib/io/worker_pool.h"
#include "server/datastore/testing.h"

namespace steeple::server {
namespace {

using testing::ElementsAre;

class AttestationContract : public DatastoreContract {
 protected:
  void add_token(const std::string& token) {
    ASSERT_TRUE(store().create_join_token({token, 4'000'000'000}, std::nullopt).ok());
  }
  bool has_token(const std::string& token) {
    return store().fetch_join_token(token).take().has_value();
  }
  static NodeAttestation attestation(const std::string& agent, const std::string& serial,
                                     const std::string& token = "") {
    return {.node = {.spiffe_id = id("/spire/agent/" + agent),
                     .attestation_type = "test",
                     .serial = serial,
                     .not_after = 1000,
                     .selectors = {{"t", serial}}},
            .join_token = token};
  }
  AttestedNode node(const std::string& agent) {
    return store().fetch_node(id("/spire/agent/" + agent)).take().value();
  }
};

TEST_P(AttestationContract, StoresNodeAndSelectorsAndSpendsTheTokenInOneChange) {
  add_token("a");
  std::vector<ChangeBatch> told;
  auto subscription = store().subscribe([&](const ChangeBatch& batch) { told.push_back(batch); });
  EXPECT_EQ(store().attest_node(attestation("a", "1", "a")).take(), Attested::kYes);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_THAT(told[0].node_ids, ElementsAre(id("/spire/agent/a").text()));
  reopen();
  EXPECT_FALSE(has_token("a"));
  EXPECT_EQ(node("a").serial, "1");
  EXPECT_EQ(node("a").attestation_type, "test");
  EXPECT_THAT(store().node_selectors(id("/spire/agent/a")).take(), ElementsAre(Selector{"t", "1"}));
}

TEST_P(AttestationContract, AnAgentThatAttestsAgainGetsNewSerialAndSelectorsAndKeepsItsVersion) {
  ASSERT_TRUE(store().attest_node(attestation("a", "1")).ok());
  AttestedNodeMask mask = AttestedNodeMask::none();
  mask.agent_version = true;
  mask.new_serial = true;
  ASSERT_TRUE(
      store()
          .update_node(
              {.spiffe_id = id("/spire/agent/a"), .new_serial = "9", .agent_version = "1.2"}, mask)
          .ok());
  EXPECT_EQ(store().attest_node(attestation("a", "2")).take(), Attested::kYes);
  EXPECT_EQ(node("a").serial, "2");
  EXPECT_EQ(node("a").new_serial, "");
  EXPECT_EQ(node("a").agent_version, "1.2");
  EXPECT_THAT(store().node_selectors(id("/spire/agent/a")).take(), ElementsAre(Selector{"t", "2"}));
}

TEST_P(AttestationContract, ABannedAgentStaysBannedAndNothingIsWritten) {
  add_token("token");
  ASSERT_TRUE(store().attest_node(attestation("a", "1")).ok());
  AttestedNodeMask mask = AttestedNodeMask::none();
  mask.serial = true;
  ASSERT_TRUE(store().update_node({.spiffe_id = id("/spire/agent/a")}, mask).ok());
  EXPECT_EQ(store().attest_node(attestation("a", "2", "token")).take(), Attested::kBanned);
  EXPECT_TRUE(node("a").banned());
  EXPECT_TRUE(has_token("token"));
  EXPECT_THAT(store().node_selectors(id("/spire/agent/a")).take(), ElementsAre(Selector{"t", "1"}));
}

TEST_P(AttestationContract, WithoutItsTokenNobodyIsStored) {
  EXPECT_EQ(store().attest_node(attestation("a", "1", "none")).take(), Attested::kTokenGone);
  EXPECT_EQ(store().fetch_node(id("/spire/agent/a")).take(), std::nullopt);
}

TEST_P(AttestationContract, OfAHundredCallsWithOneTokenExactlyOneGoesThrough) {
  add_token("token");
  std::atomic<int> yes = 0;
  std::atomic<int> gone = 0;
  {
    io::WorkerPool pool({.threads = 8, .queue_max = 200});
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(pool.submit([&, i] {
                        auto attested = store().attest_node(
                            attestation(std::to_string(i), std::to_string(i + 1), "token"));
                        yes += attested.ok() && *attested == Attested::kYes ? 1 : 0;
                        gone += attested.ok() && *attested == Attested::kTokenGone ? 1 : 0;
                      })
                      .ok());
    }
  }  // runs what is queued and joins
  EXPECT_EQ(yes, 1);
  EXPECT_EQ(gone, 99);
  reopen();
  EXPECT_EQ(store().count_nodes({}).take(), 1);
}

// One of them breaks a rule of the table (the same selector twice); the others share its commit.
TEST_P(AttestationContract, ManyAtOnceEachGetTheirOwnResultAndAreOnDisk) {
  constexpr int kAgents = 60;
  for (int i = 0; i < kAgents; ++i) {
    add_token(std::to_string(i));
  }
  std::atomic<int> yes = 0;
  std::atomic<int> failed = 0;
  {
    io::WorkerPool pool({.threads = 8, .queue_max = 200});
    for (int i = 0; i < kAgents; ++i) {
      ASSERT_TRUE(pool.submit([&, i] {
                        std::string name = std::to_string(i);
                        NodeAttestation wanted = attestation(name, name, name);
                        if (i % 10 == 9) {
                          wanted.node.selectors.push_back(wanted.node.selectors.front());
                        }
                        auto attested = store().attest_node(wanted);
                        yes += attested.ok() && *attested == Attested::kYes ? 1 : 0;
                        failed += attested.ok() ? 0 : 1;
                      })
                      .ok());
    }
  }
  EXPECT_EQ(yes, 54);
  EXPECT_EQ(failed, 6);
  reopen();
  EXPECT_EQ(store().count_nodes({}).take(), 54);
  for (int i = 0; i < kAgents; ++i) {
    EXPECT_EQ(has_token(std::to_string(i)), i % 10 == 9) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Drivers, AttestationContract, testing::Bool(), driver_name);

}  // namespace
}  // namespace steeple::server
