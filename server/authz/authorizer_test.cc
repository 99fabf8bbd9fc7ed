// SPDX-License-Identifier: Apache-2.0

// Goal: records held in memory change nothing about who may call: a ban, an eviction, a renewal or
// a new attestation is seen by the very next call. Method: the real datastore in memory, calls as
// an agent before and after each change, and the number of reads that reached the database.

#include "server/authz/authorizer.h"

#include <gtest/gtest.h>

#include <atomic>

#include "lib/io/worker_pool.h"
#include "server/datastore/testing.h"
#include "spire/api/types/status.pb.h"

namespace steeple::server {
namespace {

using spire::api::types::PermissionDeniedDetails;

constexpr auto kSync = "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries";
constexpr auto kFuture = std::int64_t{4'000'000'000};

class AuthorizerTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = open_sql_datastore(database_, clock_, random_).take();
    authorizer_ = std::make_unique<Authorizer>(
        Authorizer::Deps{.datastore = *store_, .clock = clock_, .random = random_, .log = {}},
        Authorizer::Options{});
    attest("1");
  }

  void attest(const std::string& serial) {
    ASSERT_TRUE(store_
                    ->create_node({.spiffe_id = agent_,
                                   .attestation_type = "join_token",
                                   .serial = serial,
                                   .not_after = kFuture})
                    .ok());
  }
  void update(const AttestedNode& node, AttestedNodeMask mask) {
    ASSERT_TRUE(store_->update_node(node, mask).ok());
  }
  void ban() {
    AttestedNodeMask mask = AttestedNodeMask::none();
    mask.serial = true;
    mask.new_serial = true;
    update({.spiffe_id = agent_}, mask);
  }
  void renew(const std::string& serial) {
    AttestedNodeMask mask = AttestedNodeMask::none();
    mask.new_serial = true;
    mask.new_not_after = true;
    update({.spiffe_id = agent_, .new_serial = serial, .new_not_after = kFuture}, mask);
  }

  // Calls with the SVID of this serial; nullopt when it is allowed.
  std::optional<PermissionDeniedDetails::Reason> refusal(const std::string& serial) {
    auto peer = std::make_shared<io::Peer>();
    peer->tls = true;
    peer->spiffe_id = agent_;
    peer->leaf_serial = serial;
    peer->leaf_not_after = from_unix_seconds(kFuture);
    auto verdict = authorizer_->authorize(kSync, peer);
    if (verdict.ok()) {
      EXPECT_EQ((*verdict)->authorized_as, "agent");
      return std::nullopt;
    }
    EXPECT_EQ(verdict.error().code, Code::kPermissionDenied);
    PermissionDeniedDetails details;
    if (!verdict.error().details.empty()) {
      EXPECT_TRUE(details.ParseFromString(verdict.error().details.front().value));
    }
    return details.reason();
  }

  FakeClock clock_;
  SeededRandom random_{7};
  std::shared_ptr<sql::Database> database_ = sql::open_memory_database().take();
  std::unique_ptr<Datastore> store_;
  std::unique_ptr<Authorizer> authorizer_;
  spiffe::SpiffeId agent_ = id("/spire/agent/a");
};

TEST_F(AuthorizerTest, AnAttestedAgentMayCallAndOthersMayNot) {
  EXPECT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal("2"), PermissionDeniedDetails::AGENT_NOT_ACTIVE);
  agent_ = id("/spire/agent/unknown");
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ATTESTED);
}

TEST_F(AuthorizerTest, TheNextCallAfterABanIsRefused) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  ban();
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_BANNED);
}

TEST_F(AuthorizerTest, TheNextCallAfterAnEvictionIsRefusedAndAfterANewAttestationAllowed) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  ASSERT_TRUE(store_->delete_node(agent_).ok());
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ATTESTED);
  attest("5");
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ACTIVE);
  EXPECT_EQ(refusal("5"), std::nullopt);
}

TEST_F(AuthorizerTest, AnAgentThatIsPrunedIsRefused) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  ASSERT_EQ(store_->prune_nodes(kFuture + 1, true, 10).take(), 1);
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ATTESTED);
}

TEST_F(AuthorizerTest, TheFirstUseOfARenewedSvidEndsTheOldOne) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  renew("2");
  EXPECT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal("2"), std::nullopt);
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ACTIVE);
  EXPECT_EQ(store_->fetch_node(agent_).take()->serial, "2");
  EXPECT_EQ(store_->fetch_node(agent_).take()->new_serial, "");
}

// The record may be older than the ban when a renewed SVID comes in for the first time.
TEST_F(AuthorizerTest, ARenewedSvidDoesNotLiftABan) {
  renew("2");
  ban();
  auto node = store_->activate_node_serial(agent_, "2").take();
  EXPECT_TRUE(node->banned());
  EXPECT_TRUE(store_->fetch_node(agent_).take()->banned());
  EXPECT_EQ(refusal("2"), PermissionDeniedDetails::AGENT_BANNED);
}

TEST_F(AuthorizerTest, WithoutAVerifiedLeafNobodyIsAnAgent) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal(""), PermissionDeniedDetails::UNKNOWN);
}

TEST_F(AuthorizerTest, AnExpiredSvidIsRefusedOnAnOpenConnection) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  clock_.jump_wall(from_unix_seconds(kFuture + 1) - clock_.now());
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_EXPIRED);
}

// The index tells a ban to open streams, which then ask whether their caller is still allowed.
TEST_F(AuthorizerTest, WhoHearsOfABanFromTheDatastoreFindsItInForce) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  std::optional<PermissionDeniedDetails::Reason> found;
  auto subscription = store_->subscribe([&](const ChangeBatch&) { found = refusal("1"); });
  ban();
  EXPECT_EQ(found, PermissionDeniedDetails::AGENT_BANNED);
}

// Bans and new attestations from one thread, calls from others: what was acknowledged holds for
// every call that begins after it.
TEST_F(AuthorizerTest, NoCallThatBeginsAfterABanWasAnsweredIsAllowed) {
  constexpr int kRounds = 200;
  std::atomic<bool> over{false};
  io::WorkerPool callers({.threads = 2, .queue_max = 2});
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(callers
                    .submit([&] {
                      while (!over) {
                        static_cast<void>(refusal("1"));
                      }
                    })
                    .ok());
  }
  for (int i = 0; i < kRounds; ++i) {
    ban();
    EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_BANNED);
    AttestedNodeMask mask = AttestedNodeMask::none();
    mask.serial = true;
    update({.spiffe_id = agent_, .serial = "1"}, mask);
    EXPECT_EQ(refusal("1"), std::nullopt);
  }
  over = true;
}

// The store of a database that others write to: nothing is kept, unless staleness is allowed.
class SharedDatabase final : public sql::Database {
 public:
  explicit SharedDatabase(std::shared_ptr<sql::Database> real) : real_(std::move(real)) {}
  Result<sql::Lease> write() override { return real_->write(); }
  Result<sql::Lease> read() override {
    ++reads;
    return real_->read();
  }
  std::string version() const override { return real_->version(); }
  int reads = 0;

 private:
  std::shared_ptr<sql::Database> real_;
};

TEST(NodeRecords, AreKeptOnlyWhileTheDatastoreTellsEveryChange) {
  FakeClock clock;
  SeededRandom random{7};
  auto database = std::make_shared<SharedDatabase>(sql::open_memory_database().take());
  auto store = open_sql_datastore(database, clock, random).take();
  ASSERT_TRUE(
      store->create_node({.spiffe_id = id("/spire/agent/a"), .serial = "1", .not_after = 9}).ok());
  NodeRecords never(*store, clock, Duration(0));
  int before = database->reads;
  EXPECT_EQ(never.get(id("/spire/agent/a")).take()->serial, "1");
  EXPECT_EQ(never.get(id("/spire/agent/a")).take()->serial, "1");
  EXPECT_EQ(database->reads, before + 2);
  EXPECT_EQ(never.held(), 0U);

  NodeRecords a_while(*store, clock, std::chrono::seconds(5));
  before = database->reads;
  EXPECT_EQ(a_while.get(id("/spire/agent/a")).take()->serial, "1");
  EXPECT_EQ(a_while.get(id("/spire/agent/a")).take()->serial, "1");
  EXPECT_EQ(database->reads, before + 1);
  clock.advance(std::chrono::seconds(5));
  EXPECT_EQ(a_while.get(id("/spire/agent/a")).take()->serial, "1");
  EXPECT_EQ(database->reads, before + 2);
}

TEST(NodeRecords, OfAOneServerDatabaseAreReadOnceUntilTheyChange) {
  FakeClock clock;
  SeededRandom random{7};
  std::shared_ptr<sql::Database> database = sql::open_memory_database().take();
  auto store = open_sql_datastore(database, clock, random).take();
  NodeRecords records(*store, clock, Duration(0));
  EXPECT_EQ(records.get(id("/spire/agent/a")).take(), nullptr);
  ASSERT_TRUE(
      store->create_node({.spiffe_id = id("/spire/agent/a"), .serial = "1", .not_after = 9}).ok());
  auto first = records.get(id("/spire/agent/a")).take();
  EXPECT_EQ(records.get(id("/spire/agent/a")).take(), first);
  ASSERT_TRUE(store->set_node_selectors(id("/spire/agent/a"), {}).ok());
  EXPECT_EQ(records.held(), 0U);
  EXPECT_NE(records.get(id("/spire/agent/a")).take(), first);
}

}  // namespace
}  // namespace steeple::server
