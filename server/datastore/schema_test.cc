// SPDX-License-Identifier: Apache-2.0

// Goal: SPIRE's databases are opened in place and ours look the same. testdata/spire_1_15.sql was
// written by a real SPIRE server.

#include "server/datastore/schema.h"

#include <fstream>
#include <sstream>

#include "server/datastore/testing.h"

namespace steeple::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SchemaTest : public testing::Test {
 protected:
  SchemaTest() : database_(sql::open_memory_database().take()) {}

  void execute(const std::string& script) {
    auto write = database_->write().take();
    auto done = write.execute(script);
    ASSERT_TRUE(done.ok()) << done.error().message;
    ASSERT_TRUE(write.commit().ok());
  }
  void load_spire() {
    std::ifstream file(STEEPLE_TESTDATA "/spire_1_15.sql");
    std::stringstream script;
    script << file.rdbuf();
    ASSERT_THAT(script.str(), HasSubstr("CREATE TABLE"));
    execute(script.str());
  }
  std::string open() {
    auto opened = open_sql_datastore(database_, clock_, random_, options_);
    if (!opened.ok()) {
      return opened.error().message;
    }
    store_ = std::move(opened).take();
    return "opened";
  }
  std::vector<std::string> strings(const std::string& sql) {
    auto read = database_->read().take();
    auto rows = read.query(sql).take();
    std::vector<std::string> all;
    while (rows.next().take()) {
      all.emplace_back(rows.text(0));
    }
    return all;
  }
  std::vector<std::string> schema() {
    return strings(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        " ORDER BY type, name");
  }
  std::vector<std::string> version() {
    return strings("SELECT version || ' ' || code_version FROM migrations");
  }

  FakeClock clock_;
  SeededRandom random_{1};
  std::shared_ptr<sql::Database> database_;
  DatastoreOptions options_;
  std::unique_ptr<Datastore> store_;
};

TEST_F(SchemaTest, ANewDatabaseHasSpiresSchemaToTheByte) {
  ASSERT_EQ(open(), "opened");
  auto ours = schema();
  EXPECT_THAT(version(), ElementsAre("25 1.15.3"));
  store_.reset();
  database_ = sql::open_memory_database().take();
  load_spire();
  EXPECT_EQ(ours, schema());
}

TEST_F(SchemaTest, ASpireDatabaseIsReadWhole) {
  load_spire();
  ASSERT_EQ(open(), "opened");
  EXPECT_EQ(store_->foreign_trust_domain(domain("example.org")).take(), std::nullopt);
  Entry web = store_->fetch_entry("web").take().value();
  EXPECT_EQ(web.spiffe_id, id("/web"));
  EXPECT_EQ(web.parent_id, id("/node1"));
  EXPECT_THAT(web.selectors, ElementsAre(Selector{"unix", "gid:5"}, Selector{"unix", "uid:1000"}));
  EXPECT_THAT(web.dns_names, ElementsAre("b.example", "a.example"));
  EXPECT_THAT(web.federates_with, ElementsAre(domain("other.org")));
  EXPECT_EQ(web.x509_svid_ttl.count(), 600);
  EXPECT_EQ(web.jwt_svid_ttl.count(), 60);
  EXPECT_EQ(web.hint, "h1");
  EXPECT_TRUE(web.jwt_svid_include_jti);
  EXPECT_EQ(web.expires_at, 4'000'000'000);
  EXPECT_EQ(web.created_at, 1795335965);
  Entry down = store_->fetch_entry("down").take().value();
  EXPECT_TRUE(down.downstream && down.store_svid && !down.admin);
  EXPECT_EQ(down.revision_number, 1);
  auto nodes = store_->list_nodes({.attestation_type = "join_token"}, std::nullopt).take();
  ASSERT_EQ(nodes.items.size(), 1U);
  EXPECT_EQ(nodes.items[0].serial, "305890180225621401711102801727271345937");
  EXPECT_EQ(nodes.items[0].not_after, 1795339562);
  EXPECT_EQ(nodes.items[0].agent_version, "1.16.0-dev-unk");
  auto bundle = store_->fetch_bundle(domain("example.org")).take().value();
  EXPECT_EQ(bundle.x509_authorities.size(), 1U);
  EXPECT_EQ(bundle.jwt_authorities.size(), 1U);
  EXPECT_EQ(bundle.sequence_number, 1U);
  auto relationship = store_->fetch_federation_relationship(domain("other.org")).take().value();
  EXPECT_EQ(relationship.bundle_endpoint_url, "https://other.org/bundle");
  EXPECT_EQ(relationship.endpoint_spiffe_id->text(), "spiffe://other.org/bundle");
  auto journals = store_->list_ca_journals().take();
  ASSERT_EQ(journals.size(), 1U);
  EXPECT_TRUE(store_->fetch_ca_journal(journals[0].active_x509_authority_id).take().has_value());
  EXPECT_TRUE(store_->fetch_join_token("ac167acb-c034-4791-86a3-6a6650657a60").take().has_value());
}

TEST_F(SchemaTest, TaintAndRevokeWorkOnASpireBundle) {
  load_spire();
  ASSERT_EQ(open(), "opened");
  auto own = domain("example.org");
  std::string key_id = store_->list_ca_journals().take()[0].active_x509_authority_id;
  EXPECT_EQ(store_->revoke_x509_authority(own, key_id).error().message,
            "it is not possible to revoke an untainted root CA");
  EXPECT_EQ(store_->taint_x509_authority(own, "ff").error().message,
            "no ca found with provided subject key ID");
  ASSERT_TRUE(store_->taint_x509_authority(own, key_id).ok());
  EXPECT_EQ(store_->taint_x509_authority(own, key_id).error().message,
            "root CA is already tainted");
  auto bundle = store_->fetch_bundle(own).take().value();
  EXPECT_TRUE(bundle.x509_authorities[0].tainted);
  EXPECT_EQ(bundle.sequence_number, 2U);
  ASSERT_TRUE(store_->revoke_x509_authority(own, key_id).ok());
  EXPECT_TRUE(store_->fetch_bundle(own).take()->x509_authorities.empty());
}

TEST_F(SchemaTest, PruneOfABundleNeverTakesTheLastRoot) {
  load_spire();
  ASSERT_EQ(open(), "opened");
  EXPECT_EQ(store_->prune_bundle(domain("example.org"), 0).take(), false);
  EXPECT_EQ(store_->prune_bundle(domain("example.org"), 4'000'000'000).error().message,
            "prune failed: would prune all certificates");
  EXPECT_EQ(store_->prune_bundle(domain("none.org"), 0).take(), false);
}

TEST_F(SchemaTest, Version23IsMigratedAndKeepsItsRows) {
  load_spire();
  execute(
      "ALTER TABLE attested_node_entries DROP COLUMN agent_version;"
      "ALTER TABLE registered_entries DROP COLUMN additional_attributes;"
      "UPDATE migrations SET version = 23, code_version = '1.13.3'");
  ASSERT_EQ(open(), "opened");
  EXPECT_THAT(version(), ElementsAre("25 1.15.3"));
  EXPECT_EQ(store_->count_entries({}).take(), 3);
  EXPECT_EQ(store_->list_nodes({}, std::nullopt)->items[0].agent_version, "");
}

TEST_F(SchemaTest, OlderVersionsAreRefusedWithTheWayOut) {
  load_spire();
  execute("UPDATE migrations SET version = 22, code_version = '1.8.0'");
  EXPECT_EQ(open(),
            "datastore-sql: migrating from schema version 22 requires a previous SPIRE release; "
            "please follow the upgrade strategy at doc/upgrading.md");
  EXPECT_THAT(version(), ElementsAre("22 1.8.0"));
}

TEST_F(SchemaTest, ADatabaseAheadIsTakenWithinOneMinorVersion) {
  load_spire();
  std::vector<std::string> warnings;
  options_.warn = [&warnings](std::string_view text) { warnings.emplace_back(text); };
  execute("UPDATE migrations SET version = 26, code_version = '1.16.0'");
  EXPECT_EQ(open(), "opened");
  EXPECT_THAT(warnings, ElementsAre("DB schema is ahead of code version, upgrading SPIRE Server "
                                    "is recommended"));
  EXPECT_THAT(version(), ElementsAre("26 1.16.0"));
  execute("UPDATE migrations SET code_version = '1.17.0'");
  EXPECT_EQ(open(), "datastore-sql: incompatible DB schema and code version");
}

TEST_F(SchemaTest, DisabledMigrationChangesNothing) {
  load_spire();
  options_.disable_migration = true;
  execute("UPDATE migrations SET version = 24, code_version = '1.14.0'");
  EXPECT_THAT(open(), HasSubstr("disable_migration is set"));
  execute("UPDATE migrations SET code_version = '1.12.0'");
  EXPECT_EQ(open(), "datastore-sql: auto-migration must be enabled for current DB");
  execute("UPDATE migrations SET version = 26, code_version = '1.16.0'");
  EXPECT_EQ(open(), "opened");
}

TEST_F(SchemaTest, TheStoredCodeVersionNeverGoesBack) {
  for (const auto& [stored, after] :
       std::vector<std::pair<std::string, std::string>>{{"1.16.0-dev", "25 1.16.0-dev"},
                                                        {"1.15.3-rc1", "25 1.15.3"},
                                                        {"1.15.4", "25 1.15.4"},
                                                        {"1.15.2", "25 1.15.3"},
                                                        {"", "25 1.15.3"}}) {
    database_ = sql::open_memory_database().take();
    load_spire();
    execute("UPDATE migrations SET code_version = '" + stored + "'");
    EXPECT_EQ(open(), "opened");
    EXPECT_THAT(version(), ElementsAre(after));
    store_.reset();
  }
  database_ = sql::open_memory_database().take();
  load_spire();
  execute("UPDATE migrations SET code_version = 'new'");
  EXPECT_THAT(open(), HasSubstr("error getting DB code version"));
}

}  // namespace
}  // namespace steeple::server
