// SPDX-License-Identifier: Apache-2.0

// What the contract tests of the datastore share: one fixture over the drivers, values that are
// quick to write, and a look at raw rows.

#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/sql/database.h"
#include "server/datastore/sql_datastore.h"

namespace steeple::server {

inline spiffe::TrustDomain domain(const std::string& name) {
  return spiffe::TrustDomain::parse(name).take();
}
inline spiffe::SpiffeId id(const std::string& path) {
  return spiffe::SpiffeId::parse("spiffe://example.org" + path).take();
}
inline Entry entry_of(const std::string& path, std::vector<Selector> selectors) {
  return {.spiffe_id = id(path), .parent_id = id("/agent"), .selectors = std::move(selectors)};
}
inline jose::Bundle bundle_of(const std::string& name) {
  jose::Bundle bundle{.trust_domain = domain(name)};
  bundle.jwt_authorities.push_back({"spki", "kid", from_unix_seconds(1000), false});
  return bundle;
}

class TestFolder {
 public:
  TestFolder() {
    std::string pattern = testing::TempDir() + "/datastore_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::shared_ptr<sql::Database> open_file(const std::string& path) {
  sql::Options options;
  options.connection_string = path;
  return sql::open_database(options).take();
}

class TestRows {
 public:
  explicit TestRows(sql::Database& database) : read_(database.read().take()) {}
  std::int64_t count(const std::string& table) {
    auto rows = read_.query("SELECT COUNT(*) FROM " + table).take();
    EXPECT_TRUE(rows.next().take());
    return rows.integer(0);
  }

 private:
  sql::Lease read_;
};

// The parameter: in memory or on a file.
class DatastoreContract : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    database_ = GetParam() ? std::shared_ptr(sql::open_memory_database().take())
                           : open_file(folder_.file("db"));
    reopen();
  }
  // A new store on the same data; on a file through a new database object.
  void reopen() {
    store_.reset();
    if (!GetParam()) {
      database_.reset();
      database_ = open_file(folder_.file("db"));
    }
    auto opened = open_sql_datastore(database_, clock_, random_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = std::move(opened).take();
  }
  Datastore& store() { return *store_; }
  Entry create(const Entry& entry) {
    auto results = store().create_entries({entry}).take();
    EXPECT_TRUE(results[0].ok()) << results[0].error().message;
    EXPECT_FALSE(results[0]->already_existed);
    return results[0]->entry;
  }
  void create_again(const Entry& entry) {
    auto results = store().create_entries({entry}).take();
    EXPECT_TRUE(results[0]->already_existed);
  }

  TestFolder folder_;
  FakeClock clock_;
  SeededRandom random_{7};
  std::shared_ptr<sql::Database> database_;
  std::unique_ptr<Datastore> store_;
};

inline std::string driver_name(const testing::TestParamInfo<bool>& tested) {
  return tested.param ? "memory" : "file";
}

}  // namespace steeple::server
