// SPDX-License-Identifier: Apache-2.0

// Creating, changing and deleting entries, each batch in one transaction with its event rows.

#include <algorithm>

#include "server/datastore/entry_rules.h"
#include "server/datastore/sql_store.h"
#include "spire/common/common.pb.h"

namespace steeple::server {
namespace {

// More entries with one SPIFFE ID than this, and the parent leads the search for a similar entry.
constexpr std::size_t kSameIdMax = 32;

std::optional<std::string> attributes_of(const Entry& entry) {
  if (!entry.disable_x509_svid_prefetch && !entry.jwt_svid_include_jti) {
    return std::nullopt;
  }
  spire::common::RegistrationEntry::AdditionalAttributes attributes;
  attributes.set_disable_x509_svid_prefetch(entry.disable_x509_svid_prefetch);
  attributes.set_jwt_svid_include_jti(entry.jwt_svid_include_jti);
  return attributes.SerializeAsString();
}

sql::Argument blob_or_null(const std::optional<std::string>& bytes) {
  return bytes ? sql::Argument(sql::Blob{*bytes}) : sql::Argument(sql::Null{});
}

// Rows with this parent and SPIFFE ID. Either index alone can hold very many (one SPIFFE ID on all
// nodes; all entries under one parent); both at once do not.
Result<std::vector<std::int64_t>> rows_of_pair(Tx& tx, const Entry& entry) {
  std::vector<std::int64_t> found;
  std::size_t seen = 0;
  {
    auto rows =
        TRY(tx.query("SELECT id, parent_id FROM registered_entries WHERE spiffe_id = ?"
                     " LIMIT ?",
                     entry.spiffe_id.text(), static_cast<std::int64_t>(kSameIdMax + 1)));
    while (TRY(rows.next())) {
      ++seen;
      if (rows.text(1) == entry.parent_id.text()) {
        found.push_back(rows.integer(0));
      }
    }
  }
  if (seen <= kSameIdMax) {
    return found;
  }
  found.clear();
  auto rows = TRY(
      tx.query("SELECT id FROM registered_entries WHERE parent_id = ?"
               " AND CASE WHEN spiffe_id = ? THEN 1 ELSE 0 END = 1",  // keeps to the parent's index
               entry.parent_id.text(), entry.spiffe_id.text()));
  while (TRY(rows.next())) {
    found.push_back(rows.integer(0));
  }
  return found;
}

std::vector<Selector> sorted_unique(std::vector<Selector> selectors) {
  std::sort(selectors.begin(), selectors.end());
  selectors.erase(std::unique(selectors.begin(), selectors.end()), selectors.end());
  return selectors;
}

// Same parent, same SPIFFE ID, same set of selectors.
Result<std::optional<std::int64_t>> find_similar(Tx& tx, const Entry& entry) {
  auto candidates = TRY(rows_of_pair(tx, entry));
  if (candidates.empty()) {
    return std::optional<std::int64_t>();
  }
  auto wanted = sorted_unique(entry.selectors);
  for (std::int64_t row : candidates) {
    auto rows =
        TRY(tx.query("SELECT type, value FROM selectors WHERE registered_entry_id = ?", row));
    std::vector<Selector> held;
    while (TRY(rows.next())) {
      held.push_back({rows.string(0), rows.string(1)});
    }
    if (sorted_unique(std::move(held)) == wanted) {
      return std::optional<std::int64_t>(row);
    }
  }
  return std::optional<std::int64_t>();
}

Result<std::vector<std::int64_t>> bundle_rows(Tx& tx,
                                              const std::vector<spiffe::TrustDomain>& domains) {
  std::vector<std::int64_t> ids;
  for (const auto& domain : domains) {
    auto rows = TRY(tx.query("SELECT id FROM bundles WHERE trust_domain = ?", domain.id_string()));
    if (!TRY(rows.next())) {
      return Error{Code::kUnknown,
                   fmt::format("unable to find federated bundle \"{}\"", domain.id_string())};
    }
    ids.push_back(rows.integer(0));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Result<void> insert_selectors(Tx& tx, std::int64_t row, const Entry& entry) {
  for (const Selector& selector : entry.selectors) {
    TRY(
        tx.run("INSERT INTO selectors (created_at, updated_at, registered_entry_id, type, value)"
               " VALUES (?, ?, ?, ?, ?)",
               tx.now(), tx.now(), row, selector.type, selector.value));
  }
  return {};
}

Result<void> insert_dns_names(Tx& tx, std::int64_t row, const Entry& entry) {
  for (const std::string& name : entry.dns_names) {
    TRY(
        tx.run("INSERT INTO dns_names (created_at, updated_at, registered_entry_id, value)"
               " VALUES (?, ?, ?, ?)",
               tx.now(), tx.now(), row, name));
  }
  return {};
}

Result<void> insert_federation(Tx& tx, std::int64_t row, const std::vector<std::int64_t>& bundles) {
  for (std::int64_t bundle : bundles) {
    TRY(
        tx.run("INSERT INTO federated_registration_entries (bundle_id, registered_entry_id)"
               " VALUES (?, ?)",
               bundle, row));
  }
  return {};
}

Result<void> insert_entry(Tx& tx, const Entry& entry, const std::vector<std::int64_t>& bundles) {
  auto attributes = attributes_of(entry);
  std::int64_t row = TRY(tx.insert(
      "INSERT INTO registered_entries (created_at, updated_at, entry_id, spiffe_id, parent_id, ttl,"
      " admin, downstream, expiry, revision_number, store_svid, hint, jwt_svid_ttl,"
      " additional_attributes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      tx.now(), tx.now(), entry.id, entry.spiffe_id.text(), entry.parent_id.text(),
      entry.x509_svid_ttl.count(), entry.admin, entry.downstream, entry.expires_at, 0,
      entry.store_svid, entry.hint, entry.jwt_svid_ttl.count(), blob_or_null(attributes)));
  TRY(insert_federation(tx, row, bundles));
  TRY(insert_selectors(tx, row, entry));
  return insert_dns_names(tx, row, entry);
}

void apply_mask(const Entry& from, const EntryMask& mask, Entry& to) {
  auto copy = [&from, &to](bool wanted, auto field) {
    if (wanted) {
      to.*field = from.*field;
    }
  };
  copy(mask.spiffe_id, &Entry::spiffe_id);
  copy(mask.parent_id, &Entry::parent_id);
  copy(mask.selectors, &Entry::selectors);
  copy(mask.x509_svid_ttl, &Entry::x509_svid_ttl);
  copy(mask.jwt_svid_ttl, &Entry::jwt_svid_ttl);
  copy(mask.federates_with, &Entry::federates_with);
  copy(mask.dns_names, &Entry::dns_names);
  copy(mask.admin, &Entry::admin);
  copy(mask.downstream, &Entry::downstream);
  copy(mask.store_svid, &Entry::store_svid);
  copy(mask.hint, &Entry::hint);
  copy(mask.expires_at, &Entry::expires_at);
  copy(mask.additional_attributes, &Entry::disable_x509_svid_prefetch);
  copy(mask.additional_attributes, &Entry::jwt_svid_include_jti);
}

Result<void> update_row(Tx& tx, std::int64_t row, const Entry& entry) {
  auto attributes = attributes_of(entry);
  TRY(tx.run(
      "UPDATE registered_entries SET updated_at = ?, spiffe_id = ?, parent_id = ?, ttl = ?,"
      " admin = ?, downstream = ?, expiry = ?, revision_number = ?, store_svid = ?,"
      " hint = ?, jwt_svid_ttl = ?, additional_attributes = ? WHERE id = ?",
      tx.now(), entry.spiffe_id.text(), entry.parent_id.text(), entry.x509_svid_ttl.count(),
      entry.admin, entry.downstream, entry.expires_at, entry.revision_number, entry.store_svid,
      entry.hint, entry.jwt_svid_ttl.count(), blob_or_null(attributes), row));
  return {};
}

// Adds what `work` gives; undoes its writes when it failed, so that the other items of the batch
// stand. An error of this call is the whole transaction's.
template <class T, class Work>
Result<void> add_part(Tx& tx, Work work, std::vector<Result<T>>& results) {
  TRY(tx.begin_part());
  results.push_back(work());
  return results.back().ok() ? tx.keep_part() : tx.undo_part();
}

}  // namespace

Result<void> delete_entry_row(Tx& tx, std::int64_t row, const std::string& entry_id) {
  TRY(tx.run("DELETE FROM federated_registration_entries WHERE registered_entry_id = ?", row));
  TRY(tx.run("DELETE FROM registered_entries WHERE id = ?", row));
  TRY(tx.run("DELETE FROM selectors WHERE registered_entry_id = ?", row));
  TRY(tx.run("DELETE FROM dns_names WHERE registered_entry_id = ?", row));
  return tx.entry_changed(entry_id);
}

Result<CreatedEntry> SqlStore::create_entry(Tx& tx, Entry entry, bool* wrote) {
  TRY(validate_entry(entry));
  if (auto row = TRY(find_similar(tx, entry))) {
    const std::array<sql::Argument, 1> arguments{*row};
    auto existing = TRY(read_entries(tx, " WHERE e.id = ?", arguments));
    if (existing.empty()) {
      return record_not_found();
    }
    return CreatedEntry{std::move(existing.front().entry), true};
  }
  auto bundles = TRY(bundle_rows(tx, entry.federates_with));
  if (entry.id.empty()) {
    entry.id = random_.uuid();
  }
  if (wrote != nullptr) {
    *wrote = true;
  }
  TRY(insert_entry(tx, entry, bundles));
  TRY(tx.entry_changed(entry.id));
  std::sort(entry.federates_with.begin(), entry.federates_with.end());
  entry.federates_with.erase(std::unique(entry.federates_with.begin(), entry.federates_with.end()),
                             entry.federates_with.end());
  entry.revision_number = 0;
  entry.created_at = to_unix_seconds(clock_.now() + std::chrono::milliseconds(500));
  return CreatedEntry{std::move(entry), false};
}

Result<std::vector<Result<CreatedEntry>>> SqlStore::create_entries(std::vector<Entry> entries) {
  auto results = TRY(create_all(entries));
  return results ? std::move(*results) : create_each(std::move(entries));
}

// Without a savepoint for each entry, which would double the cost: an entry that fails does so
// before its first write, but for an id or a DNS name given twice. Then nothing is created here.
Result<std::optional<std::vector<Result<CreatedEntry>>>> SqlStore::create_all(
    const std::vector<Entry>& entries) {
  using All = std::optional<std::vector<Result<CreatedEntry>>>;
  auto tx = TRY(write());
  std::vector<Result<CreatedEntry>> results;
  results.reserve(entries.size());
  for (const Entry& entry : entries) {
    bool wrote = false;
    results.push_back(create_entry(tx, entry, &wrote));
    if (wrote && !results.back().ok()) {
      return All();
    }
  }
  TRY(finish(std::move(tx)));
  return All(std::move(results));
}

Result<std::vector<Result<CreatedEntry>>> SqlStore::create_each(std::vector<Entry> entries) {
  auto tx = TRY(write());
  std::vector<Result<CreatedEntry>> results;
  results.reserve(entries.size());
  for (Entry& entry : entries) {
    TRY(add_part(tx, [&] { return create_entry(tx, std::move(entry)); }, results));
  }
  TRY(finish(std::move(tx)));
  return results;
}

Result<Entry> SqlStore::update_entry(Tx& tx, const EntryUpdate& update) {
  auto stored = TRY(read_entry(tx, update.entry.id));
  if (!stored) {
    return record_not_found();
  }
  Entry& entry = stored->entry;
  apply_mask(update.entry, update.mask, entry);
  TRY(validate_updated_entry(entry));
  ++entry.revision_number;
  TRY(update_row(tx, stored->row, entry));
  if (update.mask.selectors) {
    TRY(tx.run("DELETE FROM selectors WHERE registered_entry_id = ?", stored->row));
    TRY(insert_selectors(tx, stored->row, entry));
  }
  if (update.mask.dns_names) {
    TRY(tx.run("DELETE FROM dns_names WHERE registered_entry_id = ?", stored->row));
    TRY(insert_dns_names(tx, stored->row, entry));
  }
  if (update.mask.federates_with) {
    auto bundles = TRY(bundle_rows(tx, entry.federates_with));
    TRY(tx.run("DELETE FROM federated_registration_entries WHERE registered_entry_id = ?",
               stored->row));
    TRY(insert_federation(tx, stored->row, bundles));
    std::sort(entry.federates_with.begin(), entry.federates_with.end());
    entry.federates_with.erase(
        std::unique(entry.federates_with.begin(), entry.federates_with.end()),
        entry.federates_with.end());
  }
  TRY(tx.entry_changed(entry.id));
  return std::move(entry);
}

Result<std::vector<Result<Entry>>> SqlStore::update_entries(std::vector<EntryUpdate> updates) {
  auto tx = TRY(write());
  std::vector<Result<Entry>> results;
  results.reserve(updates.size());
  for (const EntryUpdate& update : updates) {
    TRY(add_part(tx, [&] { return update_entry(tx, update); }, results));
  }
  TRY(finish(std::move(tx)));
  return results;
}

Result<std::vector<Result<Entry>>> SqlStore::delete_entries(std::span<const std::string> ids) {
  auto tx = TRY(write());
  std::map<std::string, StoredEntry, std::less<>> found;
  for (StoredEntry& stored : TRY(read_entries_by_id(tx, ids))) {
    std::string id = stored.entry.id;
    found.emplace(std::move(id), std::move(stored));
  }
  std::vector<Result<Entry>> results;
  results.reserve(ids.size());
  for (const std::string& id : ids) {
    auto at = found.find(id);
    if (at == found.end()) {
      results.emplace_back(record_not_found());
      continue;
    }
    TRY(delete_entry_row(tx, at->second.row, id));
    results.emplace_back(std::move(at->second.entry));
    found.erase(at);
  }
  TRY(finish(std::move(tx)));
  return results;
}

Result<std::vector<Entry>> SqlStore::prune_entries(std::int64_t expires_before) {
  auto tx = TRY(write());
  const std::array<sql::Argument, 1> arguments{expires_before};
  auto expired =
      TRY(read_entries(tx, " WHERE e.expiry <> 0 AND e.expiry < ? ORDER BY e.id", arguments));
  std::vector<Entry> pruned;
  for (StoredEntry& stored : expired) {
    TRY(delete_entry_row(tx, stored.row, stored.entry.id));
    pruned.push_back(std::move(stored.entry));
  }
  TRY(finish(std::move(tx)));
  return pruned;
}

}  // namespace steeple::server
