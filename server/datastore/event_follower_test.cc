// SPDX-License-Identifier: Apache-2.0

// Goal: what another process writes into the database is found, once, in any order in which its
// rows become visible; what this process wrote is not. Method: two datastores on one file, and rows
// written and taken away by hand where SQLite alone would never show them so.

#include "server/datastore/event_follower.h"

#include "server/datastore/testing.h"

namespace steeple::server {
namespace {

using testing::ElementsAre;

class EventFollowerTest : public testing::Test {
 protected:
  EventFollowerTest()
      : database_(open_file(folder_.file("db"))),
        ours_(open_sql_datastore(database_, clock_, random_).take()),
        theirs_(open_sql_datastore(open_file(folder_.file("db")), clock_, random_).take()) {}

  void start() {
    follower_ =
        EventFollower::start(std::chrono::minutes(15), {.datastore = *ours_, .clock = clock_})
            .take();
  }
  ChangeBatch poll() { return follower_->poll().take(); }
  static std::string create(Datastore& store, const std::string& name) {
    Entry entry = entry_of("/" + name, {{"unix", "user:" + name}});
    entry.id = name;
    auto results = store.create_entries({entry}).take();
    EXPECT_TRUE(results[0].ok());
    return name;
  }
  void execute(const std::string& sql) {
    auto write = database_->write().take();
    ASSERT_TRUE(write.execute(sql).ok());
    ASSERT_TRUE(write.commit().ok());
  }
  void event_row(int number, const std::string& entry_id) {
    execute(
        fmt::format("INSERT INTO registered_entries_events (id, created_at, entry_id)"
                    " VALUES ({}, '2026-01-01 00:00:00+00:00', '{}')",
                    number, entry_id));
  }

  TestFolder folder_;
  FakeClock clock_;
  SeededRandom random_{7};
  std::shared_ptr<sql::Database> database_;
  std::unique_ptr<Datastore> ours_, theirs_;
  std::unique_ptr<EventFollower> follower_;
};

TEST_F(EventFollowerTest, OnlyWhatOthersWroteIsFoundAndOnlyOnce) {
  create(*theirs_, "before");
  start();
  EXPECT_TRUE(poll().empty());
  create(*ours_, "ours");
  create(*theirs_, "theirs");
  create(*ours_, "ours2");
  ChangeBatch news = poll();
  EXPECT_THAT(news.entry_ids, ElementsAre("theirs"));
  EXPECT_FALSE(news.everything);
  EXPECT_TRUE(poll().empty());
  auto deleted = theirs_->delete_entries(std::vector<std::string>{"ours", "theirs"}).take();
  EXPECT_THAT(poll().entry_ids, ElementsAre("ours", "theirs"));
}

TEST_F(EventFollowerTest, AttestedNodesAndBundlesOfOthersAreFound) {
  start();
  ASSERT_TRUE(theirs_->create_node({.spiffe_id = id("/spire/agent/a"), .serial = "1"}).ok());
  ASSERT_TRUE(theirs_->set_bundle(bundle_of("example.org")).ok());
  ChangeBatch news = poll();
  EXPECT_THAT(news.node_ids, ElementsAre("spiffe://example.org/spire/agent/a"));
  EXPECT_THAT(news.bundles, ElementsAre(domain("example.org")));
  EXPECT_TRUE(poll().empty());
  ASSERT_TRUE(theirs_->delete_bundle(domain("example.org"), BundleDeleteMode::kRestrict).ok());
  EXPECT_THAT(poll().bundles, ElementsAre(domain("example.org")));
}

TEST_F(EventFollowerTest, AnIdThatWasPassedOverIsFoundWhenItAppears) {
  start();
  event_row(3, "third");
  EXPECT_THAT(poll().entry_ids, ElementsAre("third"));
  EXPECT_EQ(follower_->skipped_entry_events(), 2U);
  event_row(1, "first");
  clock_.advance(std::chrono::minutes(14));
  EXPECT_THAT(poll().entry_ids, ElementsAre("first"));
  EXPECT_EQ(follower_->skipped_entry_events(), 1U);
  EXPECT_TRUE(poll().empty());
}

TEST_F(EventFollowerTest, AnIdThatWasPassedOverIsGivenUpAfterTheTimeout) {
  start();
  event_row(3, "third");
  EXPECT_FALSE(poll().empty());
  clock_.advance(std::chrono::minutes(15));
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(follower_->skipped_entry_events(), 0U);
  event_row(1, "first");
  EXPECT_TRUE(poll().empty());
}

TEST_F(EventFollowerTest, AGapFromBeforeTheStartIsWaitedForToo) {
  event_row(5, "a");
  event_row(7, "b");
  start();
  EXPECT_EQ(follower_->skipped_entry_events(), 1U);
  event_row(6, "late");
  EXPECT_THAT(poll().entry_ids, ElementsAre("late"));
}

TEST_F(EventFollowerTest, ALongGapMeansToReadEverything) {
  start();
  event_row(5000, "far");
  EXPECT_TRUE(poll().everything);
  EXPECT_EQ(follower_->skipped_entry_events(), 0U);
  EXPECT_TRUE(poll().empty());
}

TEST_F(EventFollowerTest, ACounterThatWentBackMeansToReadEverything) {
  create(*theirs_, "a");
  create(*theirs_, "b");
  start();
  execute(
      "DELETE FROM registered_entries_events;"
      "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'registered_entries_events'");
  EXPECT_TRUE(poll().everything);
  create(*theirs_, "c");
  ChangeBatch news = poll();
  EXPECT_FALSE(news.everything);
  EXPECT_THAT(news.entry_ids, ElementsAre("c"));
}

TEST_F(EventFollowerTest, APrunedEventTableChangesNothing) {
  start();
  create(*theirs_, "a");
  EXPECT_FALSE(poll().empty());
  execute("DELETE FROM registered_entries_events");
  EXPECT_TRUE(poll().empty());
  create(*theirs_, "b");
  EXPECT_THAT(poll().entry_ids, ElementsAre("b"));
}

TEST_F(EventFollowerTest, AnEventOfAPartThatWasUndoneIsNotTakenForOurs) {
  start();
  Entry entry = entry_of("/x", {{"unix", "uid:1"}});
  entry.federates_with = {domain("nobody.test")};
  auto results = ours_->create_entries({entry}).take();
  ASSERT_FALSE(results[0].ok()) << "no such bundle";
  create(*theirs_, "theirs");
  EXPECT_THAT(poll().entry_ids, ElementsAre("theirs"));
}

TEST_F(EventFollowerTest, APollThatFailedIsMadeUpForByTheNext) {
  start();
  create(*theirs_, "theirs");
  execute("ALTER TABLE bundles RENAME TO away");
  EXPECT_FALSE(follower_->poll().ok());
  execute("ALTER TABLE away RENAME TO bundles");
  EXPECT_THAT(poll().entry_ids, ElementsAre("theirs"));
}

TEST_F(EventFollowerTest, ThousandsOfForeignChangesArriveInOnePoll) {
  start();
  std::vector<Entry> entries;
  for (int i = 0; i < 2500; ++i) {
    entries.push_back(entry_of("/x" + std::to_string(i), {{"unix", "uid:" + std::to_string(i)}}));
  }
  ASSERT_TRUE(theirs_->create_entries(std::move(entries)).ok());
  EXPECT_EQ(poll().entry_ids.size(), 2500U);
}

}  // namespace
}  // namespace steeple::server
