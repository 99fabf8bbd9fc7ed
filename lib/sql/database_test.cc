// SPDX-License-Identifier: Apache-2.0

// Goal: the facade's promises hold on a file and in memory alike; what is acknowledged is on disk.

#include "lib/sql/database.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

namespace steeple::sql {
namespace {

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = testing::TempDir() + "/sql_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

Options file_options(const std::string& path) {
  Options options;
  options.connection_string = path;
  return options;
}

class DatabaseContract : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    auto opened =
        GetParam() ? open_memory_database() : open_database(file_options(folder_.file("db")));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    database_ = std::move(opened).take();
    auto write = database_->write().take();
    ASSERT_TRUE(
        write.execute("CREATE TABLE t (id integer primary key, a integer, b text UNIQUE)").ok());
    ASSERT_TRUE(write.commit().ok());
  }

  std::int64_t count() {
    auto read = database_->read().take();
    auto rows = read.query("SELECT COUNT(*) FROM t").take();
    EXPECT_TRUE(rows.next().take());
    return rows.integer(0);
  }

  TempFolder folder_;
  std::unique_ptr<Database> database_;
};

INSTANTIATE_TEST_SUITE_P(Drivers, DatabaseContract, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "memory" : "file"; });

TEST_P(DatabaseContract, CommittedRowsAreReadBackWithTheirTypes) {
  auto write = database_->write().take();
  EXPECT_EQ(write.run("INSERT INTO t (a, b) VALUES (?, ?)", 7, "seven").take(), 1);
  EXPECT_EQ(write.last_insert_id(), 1);
  std::optional<std::string> none;
  EXPECT_EQ(write.run("INSERT INTO t (a, b) VALUES (?, ?)", Null{}, none).take(), 1);
  ASSERT_TRUE(write.commit().ok());
  auto read = database_->read().take();
  auto rows = read.query("SELECT a, b FROM t ORDER BY id").take();
  ASSERT_TRUE(rows.next().take());
  EXPECT_EQ(rows.integer(0), 7);
  EXPECT_EQ(rows.text(1), "seven");
  ASSERT_TRUE(rows.next().take());
  EXPECT_TRUE(rows.is_null(0));
  EXPECT_EQ(rows.text(1), "");
  EXPECT_FALSE(rows.next().take());
}

TEST_P(DatabaseContract, ALeaseThatDiesRollsBack) {
  {
    auto write = database_->write().take();
    ASSERT_TRUE(write.run("INSERT INTO t (a) VALUES (1)").ok());
  }
  EXPECT_EQ(count(), 0);
}

TEST_P(DatabaseContract, AnUndonePartLeavesTheRest) {
  auto write = database_->write().take();
  ASSERT_TRUE(write.run("INSERT INTO t (b) VALUES (?)", "x").ok());
  ASSERT_TRUE(write.begin_part().ok());
  ASSERT_TRUE(write.run("INSERT INTO t (b) VALUES (?)", "y").ok());
  auto failed = write.run("INSERT INTO t (b) VALUES (?)", "x");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Code::kAlreadyExists);
  EXPECT_EQ(failed.error().message, "UNIQUE constraint failed: t.b");
  ASSERT_TRUE(write.undo_part().ok());
  ASSERT_TRUE(write.commit().ok());
  EXPECT_EQ(count(), 1);
}

TEST_P(DatabaseContract, AValueOfTheWrongTypeIsAnErrorNotAGuess) {
  auto write = database_->write().take();
  ASSERT_TRUE(write.run("INSERT INTO t (a, b) VALUES (?, ?)", "many", "x").ok());
  auto rows = write.query("SELECT a FROM t").take();
  ASSERT_TRUE(rows.next().take());
  EXPECT_EQ(rows.integer(0), 0);
  auto next = rows.next();
  ASSERT_FALSE(next.ok());
  EXPECT_EQ(next.error().code, Code::kDataLoss);
}

TEST_P(DatabaseContract, WritersOfManyThreadsTakeTurns) {
  std::vector<std::jthread> threads;  // the test's own; the product uses Workers
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this, i] {
      for (int j = 0; j < 20; ++j) {
        auto write = database_->write().take();
        EXPECT_TRUE(write.run("INSERT INTO t (a) VALUES (?)", i * 100 + j).ok());
        EXPECT_TRUE(write.commit().ok());
        EXPECT_GT(count(), 0);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(count(), 160);
}

TEST(Database, AReaderKeepsItsSnapshotWhileTheWriterCommits) {
  TempFolder folder;
  auto database = open_database(file_options(folder.file("db"))).take();
  auto write = database->write().take();
  ASSERT_TRUE(write.execute("CREATE TABLE t (a integer)").ok());
  ASSERT_TRUE(write.commit().ok());
  auto count = [](Lease& lease) {
    auto rows = lease.query("SELECT COUNT(*) FROM t").take();
    EXPECT_TRUE(rows.next().take());
    return rows.integer(0);
  };
  auto before = database->read().take();
  EXPECT_EQ(count(before), 0);
  auto second = database->write().take();
  ASSERT_TRUE(second.run("INSERT INTO t VALUES (1)").ok());
  ASSERT_TRUE(second.commit().ok());
  EXPECT_EQ(count(before), 0);
  auto after = database->read().take();
  EXPECT_EQ(count(after), 1);
}

TEST(Database, ANewFileIsForItsOwnerOnlyAndDurable) {
  TempFolder folder;
  auto database = open_database(file_options(folder.file("db"))).take();
  auto write = database->write().take();
  ASSERT_TRUE(write.execute("CREATE TABLE t (a integer)").ok());
  ASSERT_TRUE(write.commit().ok());
  struct stat status{};
  ASSERT_EQ(stat(folder.file("db").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  ASSERT_EQ(stat(folder.file("db-wal").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  auto read = database->read().take();
  auto pragma = [&read](std::string_view sql) {
    auto rows = read.query(sql).take();
    EXPECT_TRUE(rows.next().take());
    return rows.integer(0);
  };
  EXPECT_EQ(pragma("PRAGMA synchronous"), 2);  // FULL
  EXPECT_EQ(pragma("PRAGMA foreign_keys"), 1);
}

TEST(Database, RefusesWhatIsNotBuiltAndWhatIsUnknown) {
  auto refused = [](std::string type, std::string where) {
    Options options;
    options.database_type = std::move(type);
    options.connection_string = std::move(where);
    auto opened = open_database(options);
    return opened.ok() ? "opened" : opened.error().message;
  };
  EXPECT_EQ(refused("", "x"), "database_type must be set");
  EXPECT_EQ(refused("sqlite3", ""), "connection_string must be set");
  EXPECT_EQ(refused("postgres", "x"),
            "database_type \"postgres\" is not built yet: only \"sqlite3\" is");
  EXPECT_EQ(refused("oracle", "x"), "unsupported database_type: oracle");
  EXPECT_EQ(refused("sqlite3", "mysql://data.db"), "unsupported scheme \"mysql\"");
  EXPECT_THAT(refused("sqlite3", "/nonexistent-folder/db"), testing::HasSubstr("unable to open"));
}

TEST(Database, AFileThatIsNoDatabaseIsRefused) {
  TempFolder folder;
  FILE* file = fopen(folder.file("db").c_str(), "w");
  ASSERT_NE(file, nullptr);
  for (int i = 0; i < 1000; ++i) {
    fputs("this is no database ", file);
  }
  fclose(file);
  auto opened = open_database(file_options(folder.file("db")));
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::kDataLoss);
}

TEST(Database, UriFormsOfTheConnectionStringOpenTheSameFile) {
  TempFolder folder;
  {
    auto database = open_database(file_options(folder.file("db"))).take();
    auto write = database->write().take();
    ASSERT_TRUE(write.execute("CREATE TABLE t (a integer)").ok());
    ASSERT_TRUE(write.commit().ok());
  }
  for (const auto& form : {"file:" + folder.file("db"), "file://" + folder.file("db"),
                           folder.file("db") + "?_foreign_keys=ON"}) {
    auto database = open_database(file_options(form)).take();
    auto read = database->read().take();
    EXPECT_TRUE(read.query("SELECT a FROM t").ok()) << form;
  }
}

class StampTest : public testing::Test {
 protected:
  void SetUp() override {
    auto write = database_->write().take();
    ASSERT_TRUE(write.execute("CREATE TABLE t (a integer); INSERT INTO t VALUES (0)").ok());
    ASSERT_TRUE(write.commit().ok());
  }
  static void add(Database& database) {
    auto write = database.write().take();
    ASSERT_TRUE(write.run("UPDATE t SET a = a + 1").ok());
    ASSERT_TRUE(write.commit().ok());
  }
  static std::int64_t value(Database& database) {
    auto read = database.read().take();
    auto rows = read.query("SELECT a FROM t").take();
    EXPECT_TRUE(rows.next().take());
    return rows.integer(0);
  }

  TempFolder folder_;
  std::unique_ptr<Database> database_ = open_database(file_options(folder_.file("db"))).take();
};

TEST_F(StampTest, StaysWhenNothingWasCommitted) {
  auto stamp = database_->stamp();
  ASSERT_TRUE(stamp.has_value());
  EXPECT_EQ(value(*database_), 0);
  {
    auto write = database_->write().take();
    ASSERT_TRUE(write.run("UPDATE t SET a = 7").ok());
  }  // rolled back
  EXPECT_EQ(database_->stamp(), stamp);
}

TEST_F(StampTest, IsAnotherOneAfterACommitOfOursOfAnotherConnectionAndOfAnotherProcess) {
  auto before = database_->stamp();
  add(*database_);
  auto after = database_->stamp();
  ASSERT_TRUE(after.has_value());
  EXPECT_NE(before, after);
  {
    auto other = open_database(file_options(folder_.file("db"))).take();
    EXPECT_EQ(other->stamp(), after);
    add(*other);
    EXPECT_EQ(other->stamp(), database_->stamp());
  }
  EXPECT_NE(database_->stamp(), after);
  after = database_->stamp();
  ASSERT_EQ(
      std::system(fmt::format("sqlite3 '{}' 'UPDATE t SET a = 9'", folder_.file("db")).c_str()), 0);
  EXPECT_NE(database_->stamp(), after);
  EXPECT_EQ(value(*database_), 9);
}

TEST_F(StampTest, OutlivesACheckpointThatEmptiesTheLog) {
  auto other = open_database(file_options(folder_.file("db"))).take();
  ASSERT_EQ(std::system(fmt::format("sqlite3 '{}' 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null",
                                    folder_.file("db"))
                            .c_str()),
            0);
  auto before = database_->stamp();
  add(*other);
  EXPECT_NE(database_->stamp(), before);
}

TEST_F(StampTest, EqualStampsAroundAReadMeanEqualValues) {
  constexpr int kCommits = 200;
  auto other = open_database(file_options(folder_.file("db"))).take();
  std::map<std::array<std::uint32_t, 12>, std::int64_t> seen;
  {
    std::jthread writer([&] {
      for (int i = 0; i < kCommits; ++i) {
        add(*other);
      }
    });
    for (std::int64_t read = 0; read < kCommits;) {
      auto before = database_->stamp();
      read = value(*database_);
      if (before && before == database_->stamp()) {
        auto [at, fresh] = seen.emplace(before->words, read);
        ASSERT_EQ(at->second, read);
      }
    }
  }
  EXPECT_FALSE(seen.empty());
}

TEST(Database, InMemoryHasNoStamp) {
  EXPECT_EQ(open_memory_database().take()->stamp(), std::nullopt);
}

}  // namespace
}  // namespace steeple::sql
