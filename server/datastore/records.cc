// SPDX-License-Identifier: Apache-2.0

// Join tokens, federation relationships, CA journals and event rows.

#include <algorithm>
#include <limits>

#include "private/server/journal/journal.pb.h"
#include "server/datastore/sql_store.h"

namespace steeple::server {
namespace {

constexpr std::string_view kHttpsWeb = "https_web";
constexpr std::string_view kHttpsSpiffe = "https_spiffe";

constexpr std::string_view kFederationColumns =
    "SELECT id, trust_domain, bundle_endpoint_url, bundle_endpoint_profile, endpoint_spiffe_id"
    " FROM federated_trust_domains";

std::string_view profile_text(BundleEndpointProfile profile) {
  return profile == BundleEndpointProfile::kHttpsSpiffe ? kHttpsSpiffe : kHttpsWeb;
}

std::string_view endpoint_id_text(const FederationRelationship& relationship) {
  return relationship.endpoint_spiffe_id ? std::string_view(relationship.endpoint_spiffe_id->text())
                                         : std::string_view();
}

Result<void> validate(const FederationRelationship& relationship) {
  if (relationship.bundle_endpoint_url.empty()) {
    return invalid_argument("bundle endpoint URL is required");
  }
  if (relationship.profile == BundleEndpointProfile::kHttpsSpiffe &&
      !relationship.endpoint_spiffe_id) {
    return invalid_argument("bundle endpoint SPIFFE ID is required");
  }
  return {};
}

Result<FederationRelationship> read_federation(Cursor& rows) {
  auto domain = spiffe::TrustDomain::parse(rows.text(1));
  if (!domain.ok()) {
    return corrupt_row("federated trust domain", rows.text(1), domain.error().message);
  }
  FederationRelationship relationship{.trust_domain = std::move(domain).take(),
                                      .bundle_endpoint_url = rows.string(2)};
  if (rows.text(3) == kHttpsSpiffe) {
    relationship.profile = BundleEndpointProfile::kHttpsSpiffe;
    auto id = spiffe::SpiffeId::parse(rows.text(4));
    if (!id.ok()) {
      return corrupt_row("bundle endpoint SPIFFE ID of", relationship.trust_domain.name(),
                         id.error().message);
    }
    relationship.endpoint_spiffe_id = std::move(id).take();
  } else if (rows.text(3) != kHttpsWeb) {
    return internal(
        fmt::format("unknown bundle endpoint profile type: \"{}\"", rows.text(3).substr(0, 64)));
  }
  TRY(rows.ok());
  return relationship;
}

Result<std::optional<FederationRelationship>> find_federation(Tx& tx,
                                                              const spiffe::TrustDomain& domain) {
  auto rows =
      TRY(tx.query(std::string(kFederationColumns) + " WHERE trust_domain = ?", domain.name()));
  if (!TRY(rows.next())) {
    return std::optional<FederationRelationship>();
  }
  return std::optional<FederationRelationship>(TRY(read_federation(rows)));
}

// The latest end of any authority in a journal.
Result<std::int64_t> journal_end(const CaJournal& journal) {
  ::Entries entries;
  if (!entries.ParseFromString(journal.data)) {
    return internal("unable to unmarshal entries from CA journal record");
  }
  std::int64_t end = std::numeric_limits<std::int64_t>::min();
  for (const auto& ca : entries.x509cas()) {
    end = std::max(end, ca.not_after());
  }
  for (const auto& key : entries.jwtkeys()) {
    end = std::max(end, key.not_after());
  }
  for (const auto& key : entries.witkeys()) {
    end = std::max(end, key.not_after());
  }
  return end;
}

Result<std::vector<CaJournal>> read_journals(Tx& tx, std::string_view clauses,
                                             std::span<const sql::Argument> arguments) {
  std::string sql = "SELECT id, data, active_x509_authority_id FROM ca_journals";
  sql += clauses;
  auto rows = TRY(tx.query_list(sql, arguments));
  std::vector<CaJournal> journals;
  while (TRY(rows.next())) {
    journals.push_back(
        {static_cast<std::uint64_t>(rows.integer(0)), rows.string(1), rows.string(2)});
  }
  return journals;
}

std::int64_t signed_id(std::uint64_t id) {
  return static_cast<std::int64_t>(
      std::min<std::uint64_t>(id, std::numeric_limits<std::int64_t>::max()));
}

}  // namespace

// --- join tokens ---

Result<void> SqlStore::create_join_token(const JoinToken& token,
                                         const std::optional<Entry>& agent_alias) {
  if (token.token.empty() || token.expires_at == 0) {
    return invalid_argument("token and expiry are required");
  }
  auto tx = TRY(write());
  TRY(tx.run("INSERT INTO join_tokens (created_at, updated_at, token, expiry) VALUES (?, ?, ?, ?)",
             tx.now(), tx.now(), token.token, token.expires_at));
  if (agent_alias) {
    TRY(create_entry(tx, *agent_alias));
  }
  return finish(std::move(tx));
}

Result<std::optional<JoinToken>> SqlStore::fetch_join_token(std::string_view token) {
  auto tx = TRY(read());
  auto rows = TRY(tx.query("SELECT token, expiry FROM join_tokens WHERE token = ?", token));
  if (!TRY(rows.next())) {
    return std::optional<JoinToken>();
  }
  JoinToken found{rows.string(0), rows.integer(1)};
  TRY(rows.ok());
  return std::optional<JoinToken>(std::move(found));
}

Result<std::optional<JoinToken>> SqlStore::spend_join_token(std::string_view token) {
  std::optional<JoinToken> spent;
  auto tx = TRY(write());
  {
    auto rows = TRY(tx.query("SELECT token, expiry FROM join_tokens WHERE token = ?", token));
    if (!TRY(rows.next())) {
      return spent;
    }
    spent = JoinToken{rows.string(0), rows.integer(1)};
    TRY(rows.ok());
  }
  // The delete decides, also against other servers on this database.
  if (TRY(tx.run("DELETE FROM join_tokens WHERE token = ?", token)) != 1) {
    return std::optional<JoinToken>();
  }
  TRY(finish(std::move(tx)));
  return spent;
}

Result<void> SqlStore::delete_join_token(std::string_view token) {
  auto tx = TRY(write());
  if (TRY(tx.run("DELETE FROM join_tokens WHERE token = ?", token)) != 1) {
    return record_not_found();
  }
  return finish(std::move(tx));
}

Result<std::int32_t> SqlStore::prune_join_tokens(std::int64_t expires_before) {
  auto tx = TRY(write());
  auto count = TRY(tx.run("DELETE FROM join_tokens WHERE expiry < ?", expires_before));
  TRY(finish(std::move(tx)));
  return static_cast<std::int32_t>(count);
}

// --- federation relationships ---

Result<FederationRelationship> SqlStore::create_federation_relationship(
    const FederationRelationship& relationship) {
  TRY(validate(relationship));
  auto tx = TRY(write());
  TRY(
      tx.run("INSERT INTO federated_trust_domains (created_at, updated_at, trust_domain,"
             " bundle_endpoint_url, bundle_endpoint_profile, endpoint_spiffe_id, implicit)"
             " VALUES (?, ?, ?, ?, ?, ?, 0)",
             tx.now(), tx.now(), relationship.trust_domain.name(), relationship.bundle_endpoint_url,
             profile_text(relationship.profile), endpoint_id_text(relationship)));
  TRY(finish(std::move(tx)));
  return relationship;
}

Result<std::optional<FederationRelationship>> SqlStore::fetch_federation_relationship(
    const spiffe::TrustDomain& domain) {
  auto tx = TRY(read());
  return find_federation(tx, domain);
}

Result<Page<FederationRelationship>> SqlStore::list_federation_relationships(
    const std::optional<Pagination>& page) {
  auto request = TRY(parse_page(page));
  auto tx = TRY(read());
  auto rows = TRY(tx.query(std::string(kFederationColumns) + " WHERE id > ? ORDER BY id LIMIT ?",
                           request.after, request.limit));
  Page<FederationRelationship> answer;
  std::int64_t last = 0;
  while (TRY(rows.next())) {
    last = rows.integer(0);
    answer.items.push_back(TRY(read_federation(rows)));
  }
  answer.next = next_token(request, answer.items.size(), last);
  return answer;
}

Result<FederationRelationship> SqlStore::update_federation_relationship(
    const FederationRelationship& relationship, const FederationRelationshipMask& mask) {
  auto tx = TRY(write());
  auto stored = TRY(find_federation(tx, relationship.trust_domain));
  if (!stored) {
    return std::move(record_not_found()).during("unable to fetch federation relationship");
  }
  if (mask.bundle_endpoint_url) {
    stored->bundle_endpoint_url = relationship.bundle_endpoint_url;
  }
  if (mask.profile) {
    stored->profile = relationship.profile;
    stored->endpoint_spiffe_id = relationship.endpoint_spiffe_id;
  }
  TRY(validate(*stored));
  TRY(
      tx.run("UPDATE federated_trust_domains SET updated_at = ?, bundle_endpoint_url = ?,"
             " bundle_endpoint_profile = ?, endpoint_spiffe_id = ? WHERE trust_domain = ?",
             tx.now(), stored->bundle_endpoint_url, profile_text(stored->profile),
             endpoint_id_text(*stored), stored->trust_domain.name()));
  TRY(finish(std::move(tx)));
  return std::move(*stored);
}

Result<void> SqlStore::delete_federation_relationship(const spiffe::TrustDomain& domain) {
  auto tx = TRY(write());
  if (TRY(tx.run("DELETE FROM federated_trust_domains WHERE trust_domain = ?", domain.name())) ==
      0) {
    return record_not_found();
  }
  return finish(std::move(tx));
}

// --- CA journals ---

Result<CaJournal> SqlStore::set_ca_journal(const CaJournal& journal) {
  CaJournal stored = journal;
  auto tx = TRY(write());
  if (journal.id == 0) {
    auto id = TRY(
        tx.insert("INSERT INTO ca_journals (created_at, updated_at, data,"
                  " active_x509_authority_id, active_jwt_authority_id)"
                  " VALUES (?, ?, ?, ?, '')",
                  tx.now(), tx.now(), sql::Blob{journal.data}, journal.active_x509_authority_id));
    stored.id = static_cast<std::uint64_t>(id);
  } else if (TRY(tx.run("UPDATE ca_journals SET updated_at = ?, data = ?,"
                        " active_x509_authority_id = ? WHERE id = ?",
                        tx.now(), sql::Blob{journal.data}, journal.active_x509_authority_id,
                        signed_id(journal.id))) != 1) {
    return record_not_found();
  }
  TRY(finish(std::move(tx)));
  return stored;
}

Result<std::optional<CaJournal>> SqlStore::fetch_ca_journal(
    std::string_view active_x509_authority_id) {
  if (active_x509_authority_id.empty()) {
    return invalid_argument("active X509 authority ID is required");
  }
  auto tx = TRY(read());
  const std::array<sql::Argument, 1> arguments{active_x509_authority_id};
  auto found =
      TRY(read_journals(tx, " WHERE active_x509_authority_id = ? ORDER BY id LIMIT 1", arguments));
  if (found.empty()) {
    return std::optional<CaJournal>();
  }
  return std::optional<CaJournal>(std::move(found.front()));
}

Result<std::vector<CaJournal>> SqlStore::list_ca_journals() {
  auto tx = TRY(read());
  return read_journals(tx, " ORDER BY id", {});
}

Result<std::int32_t> SqlStore::prune_ca_journals(std::int64_t all_end_before) {
  auto tx = TRY(write());
  std::int32_t pruned = 0;
  for (const CaJournal& journal : TRY(read_journals(tx, " ORDER BY id", {}))) {
    if (TRY(journal_end(journal)) > all_end_before) {
      continue;
    }
    TRY(tx.run("DELETE FROM ca_journals WHERE id = ?", signed_id(journal.id)));
    ++pruned;
  }
  TRY(finish(std::move(tx)));
  return pruned;
}

// --- events ---

Result<std::vector<EntryEvent>> SqlStore::list_entry_events(std::uint64_t after,
                                                            std::int32_t limit) {
  auto tx = TRY(read());
  auto rows = TRY(tx.query(
      "SELECT id, entry_id FROM registered_entries_events WHERE id > ? ORDER BY id LIMIT ?",
      signed_id(after), limit));
  std::vector<EntryEvent> events;
  while (TRY(rows.next())) {
    events.push_back({static_cast<std::uint64_t>(rows.integer(0)), rows.string(1)});
  }
  return events;
}

Result<std::vector<AttestedNodeEvent>> SqlStore::list_node_events(std::uint64_t after,
                                                                  std::int32_t limit) {
  auto tx = TRY(read());
  auto rows = TRY(tx.query(
      "SELECT id, spiffe_id FROM attested_node_entries_events WHERE id > ? ORDER BY id LIMIT ?",
      signed_id(after), limit));
  std::vector<AttestedNodeEvent> events;
  while (TRY(rows.next())) {
    events.push_back({static_cast<std::uint64_t>(rows.integer(0)), rows.string(1)});
  }
  return events;
}

namespace {

// Reads the rows of an events table whose id is in `ids`, in IN lists of a few fixed lengths.
template <class Event>
Result<std::vector<Event>> fetch_events(Tx& tx, std::string_view select,
                                        std::span<const std::uint64_t> ids) {
  std::vector<Event> events;
  while (!ids.empty()) {
    std::span<const std::uint64_t> part = ids.first(std::min(ids.size(), kInListMax));
    ids = ids.subspan(part.size());
    std::size_t padded = padded_in_list(part.size());
    std::vector<sql::Argument> arguments;
    for (std::size_t i = 0; i < padded; ++i) {
      arguments.push_back(sql::to_argument(signed_id(part[std::min(i, part.size() - 1)])));
    }
    auto rows = TRY(tx.query_list(
        fmt::format("{} WHERE id IN {} ORDER BY id", select, placeholders(padded)), arguments));
    while (TRY(rows.next())) {
      events.push_back({static_cast<std::uint64_t>(rows.integer(0)), rows.string(1)});
    }
  }
  return events;
}

}  // namespace

Result<std::vector<EntryEvent>> SqlStore::fetch_entry_events(std::span<const std::uint64_t> ids) {
  auto tx = TRY(read());
  return fetch_events<EntryEvent>(tx, "SELECT id, entry_id FROM registered_entries_events", ids);
}

Result<std::vector<AttestedNodeEvent>> SqlStore::fetch_node_events(
    std::span<const std::uint64_t> ids) {
  auto tx = TRY(read());
  return fetch_events<AttestedNodeEvent>(
      tx, "SELECT id, spiffe_id FROM attested_node_entries_events", ids);
}

Result<std::map<std::string, std::string>> SqlStore::bundle_versions() {
  auto tx = TRY(read());
  auto rows =
      TRY(tx.query("SELECT trust_domain, COALESCE(updated_at, '') || ' ' || length(data)"
                   " FROM bundles"));
  std::map<std::string, std::string> versions;
  while (TRY(rows.next())) {
    versions.emplace(rows.string(0), rows.string(1));
  }
  return versions;
}

Result<EventPosition> SqlStore::event_position() {
  auto tx = TRY(read());
  // The counter, not the highest row: old rows are pruned, and their ids are never used again.
  auto rows =
      TRY(tx.query("SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = ?), 0),"
                   " COALESCE((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)",
                   "registered_entries_events", "attested_node_entries_events"));
  TRY(rows.next());
  return EventPosition{static_cast<std::uint64_t>(rows.integer(0)),
                       static_cast<std::uint64_t>(rows.integer(1))};
}

Result<void> SqlStore::prune_events(std::int64_t created_before) {
  auto tx = TRY(write());
  TRY(tx.run("DELETE FROM registered_entries_events WHERE unixepoch(created_at) < ?",
             created_before));
  TRY(tx.run("DELETE FROM attested_node_entries_events WHERE unixepoch(created_at) < ?",
             created_before));
  return finish(std::move(tx));
}

}  // namespace steeple::server
