// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/schema.h"

#include <charconv>
#include <tuple>

#include "server/datastore/sql_tx.h"
#include "server/datastore/time_text.h"

namespace steeple::server {
namespace {

// Byte for byte what SPIRE 1.15 makes on SQLite; sqlite_master compares equal.
constexpr std::string_view kTables = R"sql(
CREATE TABLE "federated_registration_entries" ("bundle_id" integer,"registered_entry_id" integer, PRIMARY KEY ("bundle_id","registered_entry_id"));
CREATE TABLE "bundles" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"trust_domain" varchar(255) NOT NULL,"data" blob );
CREATE TABLE "attested_node_entries" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"spiffe_id" varchar(255),"data_type" varchar(255),"serial_number" varchar(255),"expires_at" datetime,"new_serial_number" varchar(255),"new_expires_at" datetime,"can_reattest" bool,"agent_version" varchar(255) );
CREATE TABLE "attested_node_entries_events" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"spiffe_id" varchar(255) );
CREATE TABLE "node_resolver_map_entries" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"spiffe_id" varchar(255),"type" varchar(255),"value" varchar(255) );
CREATE TABLE "registered_entries" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"entry_id" varchar(255),"spiffe_id" varchar(255),"parent_id" varchar(255),"ttl" integer,"admin" bool,"downstream" bool,"expiry" bigint,"revision_number" bigint,"store_svid" bool,"hint" varchar(255),"jwt_svid_ttl" integer,"additional_attributes" blob );
CREATE TABLE "registered_entries_events" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"entry_id" varchar(255) );
CREATE TABLE "join_tokens" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"token" varchar(255),"expiry" bigint );
CREATE TABLE "selectors" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"registered_entry_id" integer,"type" varchar(255),"value" varchar(255) );
CREATE TABLE "migrations" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"version" integer,"code_version" varchar(255) );
CREATE TABLE "dns_names" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"registered_entry_id" integer,"value" varchar(255) );
CREATE TABLE "federated_trust_domains" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"trust_domain" varchar(255) NOT NULL,"bundle_endpoint_url" varchar(255),"bundle_endpoint_profile" varchar(255),"endpoint_spiffe_id" varchar(255),"implicit" bool );
CREATE TABLE "ca_journals" ("id" integer primary key autoincrement,"created_at" datetime,"updated_at" datetime,"data" blob,"active_x509_authority_id" varchar(255),"active_jwt_authority_id" varchar(255) );
)sql";

constexpr std::string_view kIndexes = R"sql(
CREATE UNIQUE INDEX uix_bundles_trust_domain ON "bundles"(trust_domain) ;
CREATE INDEX idx_attested_node_entries_expires_at ON "attested_node_entries"(expires_at) ;
CREATE UNIQUE INDEX uix_attested_node_entries_spiffe_id ON "attested_node_entries"(spiffe_id) ;
CREATE UNIQUE INDEX idx_node_resolver_map ON "node_resolver_map_entries"(spiffe_id, "type", "value") ;
CREATE INDEX idx_registered_entries_spiffe_id ON "registered_entries"(spiffe_id) ;
CREATE INDEX idx_registered_entries_parent_id ON "registered_entries"(parent_id) ;
CREATE INDEX idx_registered_entries_expiry ON "registered_entries"("expiry") ;
CREATE INDEX idx_registered_entries_hint ON "registered_entries"("hint") ;
CREATE UNIQUE INDEX uix_registered_entries_entry_id ON "registered_entries"(entry_id) ;
CREATE UNIQUE INDEX uix_join_tokens_token ON "join_tokens"("token") ;
CREATE INDEX idx_selectors_type_value ON "selectors"("type", "value") ;
CREATE UNIQUE INDEX idx_selector_entry ON "selectors"(registered_entry_id, "type", "value") ;
CREATE UNIQUE INDEX idx_dns_entry ON "dns_names"(registered_entry_id, "value") ;
CREATE UNIQUE INDEX uix_federated_trust_domains_trust_domain ON "federated_trust_domains"(trust_domain) ;
CREATE INDEX idx_ca_journals_active_x509_authority_id ON "ca_journals"(active_x509_authority_id) ;
CREATE INDEX idx_ca_journals_active_jwt_authority_id ON "ca_journals"(active_jwt_authority_id) ;
CREATE INDEX idx_federated_registration_entries_registered_entry_id ON "federated_registration_entries"(registered_entry_id) ;
)sql";

struct CodeVersion {
  int major = 0;
  int minor = 0;
  int patch = 0;
  bool prerelease = false;

  // Semantic versioning 2.0 section 11, as far as it matters here: 1.2.3-x comes before 1.2.3.
  auto rank() const { return std::tuple(major, minor, patch, !prerelease); }
};

// Empty text is 0.0.0: a database from before versions were kept.
Result<CodeVersion> parse_code_version(std::string_view text) {
  CodeVersion version;
  if (text.empty()) {
    return version;
  }
  const char* at = text.data();
  const char* end = at + text.size();
  int* parts[] = {&version.major, &version.minor, &version.patch};
  for (int i = 0; i < 3; ++i) {
    auto [stop, error] = std::from_chars(at, end, *parts[i]);
    bool last = i == 2;
    if (error != std::errc() || *parts[i] < 0 || (!last && (stop == end || *stop != '.'))) {
      return internal(
          fmt::format("datastore-sql: error getting DB code version: unable to parse code version "
                      "from DB: \"{}\"",
                      text.substr(0, 64)));
    }
    at = last ? stop : stop + 1;
  }
  version.prerelease = at != end && *at == '-';
  return version;
}

bool compatible(const CodeVersion& a, const CodeVersion& b) {
  return a.major == b.major && std::abs(a.minor - b.minor) <= 1;
}

struct Stored {
  int schema = 0;
  std::string code;
};

Result<std::optional<Stored>> read_stored(Tx& tx) {
  auto table =
      TRY(tx.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"));
  if (!TRY(table.next())) {
    return std::optional<Stored>();
  }
  auto rows = TRY(tx.query("SELECT version, code_version FROM migrations ORDER BY id LIMIT 1"));
  if (!TRY(rows.next())) {
    return std::optional<Stored>(Stored{});
  }
  Stored stored{static_cast<int>(rows.integer(0)), rows.string(1)};
  TRY(rows.ok());
  return std::optional<Stored>(std::move(stored));
}

Result<void> create_all(Tx& tx) {
  TRY(tx.execute(kTables));
  TRY(tx.execute(kIndexes));
  TRY(
      tx.run("INSERT INTO migrations (created_at, updated_at, version, code_version)"
             " VALUES (?, ?, ?, ?)",
             tx.now(), tx.now(), kSchemaVersion, kCodeVersion));
  return {};
}

Result<bool> has_column(Tx& tx, std::string_view table, std::string_view column) {
  auto rows = TRY(tx.query("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", table, column));
  return TRY(rows.next());
}

Result<void> migrate(Tx& tx, int from) {
  if (from < kOldestSchemaVersion) {
    return failed_precondition(
        fmt::format("datastore-sql: migrating from schema version {} requires a previous SPIRE "
                    "release; please follow the upgrade strategy at doc/upgrading.md",
                    from));
  }
  if (from < 24 && !TRY(has_column(tx, "attested_node_entries", "agent_version"))) {
    TRY(tx.execute("ALTER TABLE \"attested_node_entries\" ADD \"agent_version\" varchar(255)"));
  }
  if (from < 25 && !TRY(has_column(tx, "registered_entries", "additional_attributes"))) {
    TRY(tx.execute("ALTER TABLE \"registered_entries\" ADD \"additional_attributes\" blob"));
  }
  TRY(tx.run("UPDATE migrations SET updated_at = ?, version = ?, code_version = ?", tx.now(),
             kSchemaVersion, kCodeVersion));
  return {};
}

}  // namespace

Result<void> prepare_schema(sql::Database& database, const Clock& clock,
                            const DatastoreOptions& options) {
  // The writing transaction also keeps two servers from migrating at once.
  Tx tx(TRY(database.write().during(kSqlPrefix)), time_text(clock.now()));
  auto stored = TRY(read_stored(tx));
  if (!stored) {
    TRY(create_all(tx));
    return tx.commit();
  }
  auto ours = TRY(parse_code_version(kCodeVersion));
  auto theirs = TRY(parse_code_version(stored->code));
  if (stored->schema == kSchemaVersion) {
    if (ours.rank() > theirs.rank()) {
      TRY(tx.run("UPDATE migrations SET updated_at = ?, code_version = ?", tx.now(), kCodeVersion));
    }
    return tx.commit();
  }
  if (options.disable_migration) {
    if (!compatible(ours, theirs)) {
      return failed_precondition("datastore-sql: auto-migration must be enabled for current DB");
    }
    // Version 24 and 23 lack columns that every statement here names; SPIRE fails later instead.
    if (stored->schema < kSchemaVersion) {
      return failed_precondition(
          fmt::format("datastore-sql: schema version {} lacks columns this version needs, and "
                      "disable_migration is set",
                      stored->schema));
    }
    return {};
  }
  if (stored->schema > kSchemaVersion) {
    if (!compatible(ours, theirs)) {
      return failed_precondition("datastore-sql: incompatible DB schema and code version");
    }
    if (options.warn) {
      options.warn("DB schema is ahead of code version, upgrading SPIRE Server is recommended");
    }
    return {};
  }
  TRY(migrate(tx, stored->schema));
  return tx.commit();
}

}  // namespace steeple::server
