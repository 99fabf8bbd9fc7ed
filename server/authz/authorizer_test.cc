// SPDX-License-Identifier: Apache-2.0

// Goal: records held in memory change nothing about who may call: a ban, an eviction, a renewal or
// a new attestation is seen by the very next call. Method: the real datastore, calls as an agent
// before and after each change, and the number of reads that reached the database.

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

// The parameter: in memory, where every call reads, or on a file, where records are kept.
class AuthorizerTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    database_ = GetParam() ? std::shared_ptr(sql::open_memory_database().take())
                           : open_file(folder_.file("db"));
    ASSERT_EQ(database_->stamp().has_value(), !GetParam());
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
  Random& random_ = system_random();  // one test asks from several threads
  TestFolder folder_;
  std::shared_ptr<sql::Database> database_;
  std::unique_ptr<Datastore> store_;
  std::unique_ptr<Authorizer> authorizer_;
  spiffe::SpiffeId agent_ = id("/spire/agent/a");
};

TEST_P(AuthorizerTest, AnAttestedAgentMayCallAndOthersMayNot) {
  EXPECT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal("2"), PermissionDeniedDetails::AGENT_NOT_ACTIVE);
  agent_ = id("/spire/agent/unknown");
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ATTESTED);
}

TEST_P(AuthorizerTest, TheNextCallAfterABanIsRefused) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  ban();
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_BANNED);
}

TEST_P(AuthorizerTest, TheNextCallAfterAnEvictionIsRefusedAndAfterANewAttestationAllowed) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  ASSERT_TRUE(store_->delete_node(agent_).ok());
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ATTESTED);
  attest("5");
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ACTIVE);
  EXPECT_EQ(refusal("5"), std::nullopt);
}

TEST_P(AuthorizerTest, AnAgentThatIsPrunedIsRefused) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  ASSERT_EQ(store_->prune_nodes(kFuture + 1, true, 10).take(), 1);
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ATTESTED);
}

TEST_P(AuthorizerTest, TheFirstUseOfARenewedSvidEndsTheOldOne) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  renew("2");
  EXPECT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal("2"), std::nullopt);
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_NOT_ACTIVE);
  EXPECT_EQ(store_->fetch_node(agent_).take()->serial, "2");
  EXPECT_EQ(store_->fetch_node(agent_).take()->new_serial, "");
}

// The record may be older than the ban when a renewed SVID comes in for the first time.
TEST_P(AuthorizerTest, ARenewedSvidDoesNotLiftABan) {
  renew("2");
  ban();
  auto node = store_->activate_node_serial(agent_, "2").take();
  EXPECT_TRUE(node->banned());
  EXPECT_TRUE(store_->fetch_node(agent_).take()->banned());
  EXPECT_EQ(refusal("2"), PermissionDeniedDetails::AGENT_BANNED);
}

TEST_P(AuthorizerTest, WithoutAVerifiedLeafNobodyIsAnAgent) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  EXPECT_EQ(refusal(""), PermissionDeniedDetails::UNKNOWN);
}

TEST_P(AuthorizerTest, AnExpiredSvidIsRefusedOnAnOpenConnection) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  clock_.jump_wall(from_unix_seconds(kFuture + 1) - clock_.now());
  EXPECT_EQ(refusal("1"), PermissionDeniedDetails::AGENT_EXPIRED);
}

// The index tells a ban to open streams, which then ask whether their caller is still allowed.
TEST_P(AuthorizerTest, WhoHearsOfABanFromTheDatastoreFindsItInForce) {
  ASSERT_EQ(refusal("1"), std::nullopt);
  std::optional<PermissionDeniedDetails::Reason> found;
  auto subscription = store_->subscribe([&](const ChangeBatch&) { found = refusal("1"); });
  ban();
  EXPECT_EQ(found, PermissionDeniedDetails::AGENT_BANNED);
}

// Bans and new attestations from one thread, calls from others: what was acknowledged holds for
// every call that begins after it.
TEST_P(AuthorizerTest, NoCallThatBeginsAfterABanWasAnsweredIsAllowed) {
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

INSTANTIATE_TEST_SUITE_P(Databases, AuthorizerTest, testing::Bool(), driver_name);

// Counts the reads; with or without stamps.
class CountedDatabase final : public sql::Database {
 public:
  CountedDatabase(std::shared_ptr<sql::Database> real, bool stamps)
      : real_(std::move(real)), stamps_(stamps) {}
  Result<sql::Lease> write() override { return real_->write(); }
  Result<sql::Lease> read() override {
    ++reads;
    return real_->read();
  }
  std::string version() const override { return real_->version(); }
  std::optional<sql::Stamp> stamp() override { return stamps_ ? real_->stamp() : std::nullopt; }
  int reads = 0;

 private:
  std::shared_ptr<sql::Database> real_;
  bool stamps_;
};

class NodeRecordsTest : public testing::Test {
 protected:
  void open(bool stamps, Duration staleness_max) {
    database_ = std::make_shared<CountedDatabase>(open_file(folder_.file("db")), stamps);
    store_ = open_sql_datastore(database_, clock_, random_).take();
    ASSERT_TRUE(store_->create_node({.spiffe_id = agent_, .serial = "1", .not_after = 9}).ok());
    records_ = std::make_unique<NodeRecords>(*store_, clock_, staleness_max);
  }
  // The serial number in the record, and whether the database was read for it.
  std::pair<std::string, bool> get(const std::string& serial = "1") {
    int before = database_->reads;
    auto node = records_->get(agent_, serial).take();
    return {node ? node->serial : "none", database_->reads != before};
  }
  static Result<AttestedNode> set_serial(Datastore& store, const std::string& serial) {
    AttestedNodeMask mask = AttestedNodeMask::none();
    mask.serial = true;
    return store.update_node({.spiffe_id = id("/spire/agent/a"), .serial = serial}, mask);
  }

  TestFolder folder_;
  FakeClock clock_;
  SeededRandom random_{7};
  std::shared_ptr<CountedDatabase> database_;
  std::unique_ptr<Datastore> store_;
  std::unique_ptr<NodeRecords> records_;
  spiffe::SpiffeId agent_ = id("/spire/agent/a");
};

using Got = std::pair<std::string, bool>;

TEST_F(NodeRecordsTest, AreReadOnceUntilSomethingIsCommitted) {
  open(true, Duration(0));
  EXPECT_EQ(get(), Got("1", true));
  EXPECT_EQ(get(), Got("1", false));
  EXPECT_EQ(get("other"), Got("1", false));
  ASSERT_TRUE(set_serial(*store_, "2").ok());
  EXPECT_EQ(get(), Got("2", true));
  EXPECT_EQ(get(), Got("2", false));
  ASSERT_TRUE(store_->delete_node(agent_).ok());
  EXPECT_EQ(get(), Got("none", true));
}

TEST_F(NodeRecordsTest, AreReadAgainAfterAnotherServerWrote) {
  open(true, Duration(0));
  EXPECT_EQ(get(), Got("1", true));
  auto other = open_sql_datastore(open_file(folder_.file("db")), clock_, random_).take();
  EXPECT_EQ(other->fetch_node(agent_).take()->serial, "1");
  EXPECT_EQ(get(), Got("1", false)) << "who only reads changes nothing";
  ASSERT_TRUE(set_serial(*other, "").ok());
  EXPECT_EQ(get(), Got("", true));
}

TEST_F(NodeRecordsTest, WithoutStampsEveryCallReads) {
  open(false, Duration(0));
  EXPECT_EQ(get(), Got("1", true));
  EXPECT_EQ(get(), Got("1", true));
}

TEST_F(NodeRecordsTest, AnAllowedAgeLetsThemConfirmASerialAndNothingElse) {
  open(false, std::chrono::seconds(5));
  EXPECT_EQ(get(), Got("1", true));
  EXPECT_EQ(get(), Got("1", false));
  EXPECT_EQ(get("2"), Got("1", true));
  clock_.advance(std::chrono::seconds(5));
  EXPECT_EQ(get(), Got("1", true));
}

}  // namespace
}  // namespace steeple::server
