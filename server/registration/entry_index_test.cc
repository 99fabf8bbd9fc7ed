// SPDX-License-Identifier: Apache-2.0

// Goal: the index gives each agent exactly its entries, tells exactly the agents that a change
// concerns, and never differs from a fresh load. The datastore is the real one, in memory.

#include "server/registration/entry_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "server/datastore/event_follower.h"
#include "server/datastore/testing.h"

namespace steeple::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class EntryIndexTest : public testing::Test {
 protected:
  EntryIndexTest()
      : database_(sql::open_memory_database().take()),
        store_(open_sql_datastore(database_, clock_, random_).take()),
        index_(domain("example.org"), {.datastore = *store_}) {
    EXPECT_TRUE(index_.load().ok());
  }

  void create(const std::string& entry_id, const std::string& parent, const std::string& spiffe,
              std::vector<Selector> selectors = {{"unix", "uid:1"}}) {
    Entry entry{.id = entry_id,
                .spiffe_id = id(spiffe),
                .parent_id = id(parent),
                .selectors = std::move(selectors)};
    auto results = store_->create_entries({entry}).take();
    ASSERT_TRUE(results[0].ok()) << results[0].error().message;
    ASSERT_FALSE(results[0]->already_existed);
  }
  void remove(const std::string& entry_id) {
    const std::vector<std::string> ids{entry_id};
    ASSERT_TRUE(store_->delete_entries(ids).take()[0].ok());
  }
  void attest(const std::string& path, const std::vector<Selector>& selectors) {
    AttestedNode node{.spiffe_id = id(path), .attestation_type = "x", .serial = "1"};
    static_cast<void>(store_->create_node(node).ok());  // it may be there already
    ASSERT_TRUE(store_->set_node_selectors(id(path), selectors).ok());
  }
  std::vector<std::string> authorized(const std::string& path) {
    std::vector<std::string> ids;
    auto answer = index_.authorized_entries(id(path).text());
    for (const auto& entry : answer->entries) {
      ids.emplace_back(entry->id());
    }
    return ids;
  }

  FakeClock clock_;
  SeededRandom random_{3};
  std::shared_ptr<sql::Database> database_;
  std::unique_ptr<Datastore> store_;
  EntryIndex index_;
};

TEST_F(EntryIndexTest, AnAgentHasItsChildrenAndTheirChildren) {
  create("b", "/spire/agent/a", "/mid");
  create("a", "/mid", "/leaf");
  create("c", "/spire/agent/other", "/leaf");
  EXPECT_THAT(authorized("/spire/agent/a"), ElementsAre("a", "b"));
  EXPECT_THAT(authorized("/spire/agent/other"), ElementsAre("c"));
  EXPECT_THAT(authorized("/spire/agent/none"), IsEmpty());
}

TEST_F(EntryIndexTest, CyclesEndAndEntriesComeOnce) {
  create("1", "/spire/agent/a", "/x");
  create("2", "/x", "/y");
  create("3", "/y", "/x");
  create("4", "/x", "/x");
  EXPECT_THAT(authorized("/spire/agent/a"), ElementsAre("1", "2", "3", "4"));
  EXPECT_NE(index_.authorized_entry(id("/spire/agent/a").text(), "3"), nullptr);
}

TEST_F(EntryIndexTest, AliasesGiveTheirDescendantsToMatchingAgentsOnly) {
  attest("/spire/agent/a", {{"k", "1"}, {"k", "2"}, {"k", "3"}});
  attest("/spire/agent/b", {{"k", "1"}});
  create("alias", "/spire/server", "/cluster", {{"k", "1"}, {"k", "2"}});
  create("work", "/cluster", "/web");
  EXPECT_THAT(authorized("/spire/agent/a"), ElementsAre("work"));
  EXPECT_THAT(authorized("/spire/agent/b"), IsEmpty());
  EXPECT_NE(index_.authorized_entry(id("/spire/agent/a").text(), "work"), nullptr);
  EXPECT_EQ(index_.authorized_entry(id("/spire/agent/a").text(), "alias"), nullptr);
  EXPECT_EQ(index_.authorized_entry(id("/spire/agent/b").text(), "work"), nullptr);
  attest("/spire/agent/b", {{"k", "2"}, {"k", "1"}});
  EXPECT_THAT(authorized("/spire/agent/b"), ElementsAre("work"));
  ASSERT_TRUE(store_->delete_node(id("/spire/agent/b")).ok());
  EXPECT_THAT(authorized("/spire/agent/b"), IsEmpty());
}

TEST_F(EntryIndexTest, AnAnswerIsASnapshotThatIsSharedUntilItChanges) {
  attest("/spire/agent/a", {{"k", "1"}});
  create("1", "/spire/agent/a", "/x");
  auto before = index_.authorized_entries(id("/spire/agent/a").text());
  EXPECT_EQ(before, index_.authorized_entries(id("/spire/agent/a").text()));
  create("other", "/spire/agent/b", "/x");
  EXPECT_EQ(before, index_.authorized_entries(id("/spire/agent/a").text()));
  create("2", "/spire/agent/a", "/y");
  auto after = index_.authorized_entries(id("/spire/agent/a").text());
  EXPECT_EQ(before->entries.size(), 1U);
  EXPECT_EQ(after->entries.size(), 2U);
  EXPECT_GT(after->revision, before->revision);
  ASSERT_NE(after->find("2"), nullptr);
  EXPECT_EQ(after->find("2")->spiffe_path(), "/y");
  EXPECT_EQ(before->find("2"), nullptr);
}

TEST_F(EntryIndexTest, SubscribersHearOfWhatConcernsThem) {
  attest("/spire/agent/a", {{"k", "1"}});
  attest("/spire/agent/b", {{"k", "2"}});
  int a = 0;
  int b = 0;
  std::uint64_t last = 0;
  auto to_a = index_.subscribe(id("/spire/agent/a").text(), [&](std::uint64_t revision) {
    EXPECT_GT(revision, last);
    last = revision;
    ++a;
  });
  auto to_b = index_.subscribe(id("/spire/agent/b").text(), [&b](std::uint64_t) { ++b; });
  create("direct", "/spire/agent/a", "/x");
  EXPECT_EQ(std::pair(a, b), std::pair(1, 0));
  create("alias", "/spire/server", "/cluster", {{"k", "2"}});
  EXPECT_EQ(std::pair(a, b), std::pair(1, 1));
  create("below", "/cluster", "/y");
  EXPECT_EQ(std::pair(a, b), std::pair(1, 2));
  create("nobody", "/spire/agent/z", "/y");
  EXPECT_EQ(std::pair(a, b), std::pair(1, 2));
  remove("direct");
  EXPECT_EQ(std::pair(a, b), std::pair(2, 2));
  ASSERT_TRUE(store_->set_bundle(bundle_of("other.org")).ok());
  EXPECT_EQ(std::pair(a, b), std::pair(3, 3));
  ASSERT_TRUE(
      store_->update_node({.spiffe_id = id("/spire/agent/a")}, AttestedNodeMask::none()).ok());
  EXPECT_EQ(std::pair(a, b), std::pair(4, 3));
  to_a.reset();
  create("late", "/spire/agent/a", "/x");
  EXPECT_EQ(a, 4);
  EXPECT_EQ(last, index_.authorized_entries(id("/spire/agent/a").text())->revision - 1);
}

TEST_F(EntryIndexTest, AnAgentThatIsNotAttestedYetCanSubscribe) {
  int told = 0;
  auto subscription =
      index_.subscribe(id("/spire/agent/new").text(), [&told](std::uint64_t) { ++told; });
  create("1", "/spire/agent/new", "/x");
  EXPECT_EQ(told, 1);
  ASSERT_TRUE(index_.load().ok());
  EXPECT_EQ(told, 2);
  remove("1");
  EXPECT_EQ(told, 3);
  EXPECT_THAT(authorized("/spire/agent/new"), IsEmpty());
}

TEST_F(EntryIndexTest, ChangesOfAnotherServerArriveByTheEventTables) {
  attest("/spire/agent/a", {{"k", "1"}});
  auto follower =
      EventFollower::start(EventFollower::kEventTimeout, {.datastore = *store_, .clock = clock_})
          .take();
  auto other = open_sql_datastore(database_, clock_, random_).take();
  Entry entry = entry_of("/x", {{"unix", "uid:1"}});
  entry.id = "theirs";
  entry.parent_id = id("/spire/agent/a");
  ASSERT_TRUE(other->create_entries({entry}).ok());
  EXPECT_THAT(authorized("/spire/agent/a"), IsEmpty());
  store_->announce(follower->poll().take());
  EXPECT_THAT(authorized("/spire/agent/a"), ElementsAre("theirs"));
}

TEST_F(EntryIndexTest, EntriesOfOtherTrustDomainsAndBadRowsAreLeftOut) {
  create("good", "/spire/agent/a", "/x");
  create("bad", "/spire/agent/a", "/y");
  create("foreign", "/spire/agent/a", "/z");
  {
    auto write = database_->write().take();
    ASSERT_TRUE(write
                    .execute("UPDATE registered_entries SET ttl = -1 WHERE entry_id = 'bad';"
                             "UPDATE registered_entries SET spiffe_id = 'spiffe://other.org/z'"
                             " WHERE entry_id = 'foreign'")
                    .ok());
    ASSERT_TRUE(write.commit().ok());
  }
  std::vector<std::string> errors;
  EntryIndex fresh(domain("example.org"),
                   {.datastore = *store_,
                    .bad_row = [&errors](const Error& error) { errors.push_back(error.message); }});
  ASSERT_TRUE(fresh.load().ok());
  EXPECT_EQ(fresh.entries(), 1U);
  EXPECT_THAT(errors, ElementsAre(testing::HasSubstr("\"bad\"")));
  EXPECT_THAT(fresh.authorized_entries("spiffe://other.org/spire/agent/a")->entries, IsEmpty());
  EXPECT_THAT(fresh.authorized_entries("nonsense")->entries, IsEmpty());
}

TEST_F(EntryIndexTest, ABatchThatCouldNotBeReadIsReadWithTheNext) {
  create("1", "/spire/agent/a", "/x");
  auto set_ttl = [this](const std::string& ttl) {
    auto write = database_->write().take();
    ASSERT_TRUE(write.execute("UPDATE registered_entries SET hint = 'new', ttl = " + ttl).ok());
    ASSERT_TRUE(write.commit().ok());
  };
  set_ttl("-1");
  ChangeBatch batch;
  batch.entry_ids = {"1"};
  EXPECT_FALSE(index_.apply(batch).ok());
  set_ttl("5");
  ASSERT_TRUE(index_.apply({}).ok());
  EXPECT_EQ(index_.find("1")->to_entry().hint, "new");
}

TEST_F(EntryIndexTest, AReloadThatFailedIsDoneWithTheNextChange) {
  create("1", "/spire/agent/a", "/x");
  store_->announce({.everything = true});
  EXPECT_EQ(index_.entries(), 1U);
  auto other = open_sql_datastore(database_, clock_, random_).take();
  Entry entry = entry_of("/y", {{"unix", "uid:1"}});
  entry.id = "theirs";
  ASSERT_TRUE(other->create_entries({entry}).ok());
  {
    auto write = database_->write().take();
    ASSERT_TRUE(write.execute("ALTER TABLE registered_entries RENAME TO away").ok());
    ASSERT_TRUE(write.commit().ok());
  }
  store_->announce({.everything = true});
  EXPECT_EQ(index_.entries(), 1U) << "what was known stays";
  {
    auto write = database_->write().take();
    ASSERT_TRUE(write.execute("ALTER TABLE away RENAME TO registered_entries").ok());
    ASSERT_TRUE(write.commit().ok());
  }
  ASSERT_TRUE(index_.apply({}).ok());
  EXPECT_EQ(index_.entries(), 2U);
}

TEST_F(EntryIndexTest, ReadersAndAWriterDoNotDisturbEachOther) {
  attest("/spire/agent/a", {{"k", "1"}});
  create("alias", "/spire/server", "/cluster", {{"k", "1"}});
  std::atomic<bool> done = false;
  std::vector<std::jthread> readers;  // the test's own; the product uses Workers
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        auto answer = index_.authorized_entries(id("/spire/agent/a").text());
        for (const auto& entry : answer->entries) {
          EXPECT_EQ(answer->find(entry->id()), entry.get());
        }
        static_cast<void>(index_.authorized_entry(id("/spire/agent/a").text(), "e1"));
        auto subscription = index_.subscribe(id("/spire/agent/a").text(), [](std::uint64_t) {});
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    create("e" + std::to_string(i), "/cluster", "/w" + std::to_string(i));
    if (i % 3 == 0) {
      remove("e" + std::to_string(i));
    }
  }
  done = true;
  readers.clear();
  EXPECT_EQ(authorized("/spire/agent/a").size(), 66U);
}

}  // namespace
}  // namespace steeple::server
