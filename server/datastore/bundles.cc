// SPDX-License-Identifier: Apache-2.0

// Trust bundles: one row per trust domain, its content a protobuf blob.

#include "server/datastore/bundle_blob.h"
#include "server/datastore/sql_store.h"

namespace steeple::server {
namespace {

struct StoredBundle {
  std::int64_t row = 0;
  spire::common::Bundle blob;
};

Result<std::optional<StoredBundle>> read_bundle(Tx& tx, const spiffe::TrustDomain& domain) {
  std::string id = domain.id_string();
  auto rows = TRY(tx.query("SELECT id, data FROM bundles WHERE trust_domain = ?", id));
  if (!TRY(rows.next())) {
    return std::optional<StoredBundle>();
  }
  StoredBundle stored{rows.integer(0), {}};
  stored.blob = TRY(parse_bundle_blob(id, rows.text(1)));
  TRY(rows.ok());
  return std::optional<StoredBundle>(std::move(stored));
}

Result<StoredBundle> require_bundle(Tx& tx, const spiffe::TrustDomain& domain) {
  auto stored = TRY(read_bundle(tx, domain));
  if (!stored) {
    return record_not_found();
  }
  return std::move(*stored);
}

Result<void> insert_bundle(Tx& tx, const jose::Bundle& bundle) {
  spire::common::Bundle blob;
  blob.set_trust_domain_id(bundle.trust_domain.id_string());
  apply_bundle(bundle, {}, blob);
  std::string data = blob.SerializeAsString();
  TRY(
      tx.run("INSERT INTO bundles (created_at, updated_at, trust_domain, data)"
             " VALUES (?, ?, ?, ?)",
             tx.now(), tx.now(), blob.trust_domain_id(), sql::Blob{data}));
  tx.bundle_changed(bundle.trust_domain);
  return {};
}

Result<void> save_bundle(Tx& tx, const spiffe::TrustDomain& domain, const StoredBundle& stored) {
  std::string data = stored.blob.SerializeAsString();
  TRY(tx.run("UPDATE bundles SET updated_at = ?, data = ? WHERE id = ?", tx.now(), sql::Blob{data},
             stored.row));
  tx.bundle_changed(domain);
  return {};
}

void next_sequence(spire::common::Bundle& blob) {
  blob.set_sequence_number(blob.sequence_number() + 1);
}

// The entries that federate with this bundle get what `mode` says; each gets its event.
Result<void> release_entries(Tx& tx, std::int64_t bundle, BundleDeleteMode mode) {
  const std::array<sql::Argument, 1> arguments{bundle};
  auto entries = TRY(read_entries(tx,
                                  " WHERE e.id IN (SELECT registered_entry_id FROM"
                                  " federated_registration_entries WHERE bundle_id = ?)"
                                  " ORDER BY e.id",
                                  arguments));
  if (!entries.empty() && mode == BundleDeleteMode::kRestrict) {
    return failed_precondition(
        fmt::format("datastore-sql: cannot delete bundle; federated with {} registration entries",
                    entries.size()));
  }
  for (const StoredEntry& stored : entries) {
    if (mode == BundleDeleteMode::kDelete) {
      TRY(delete_entry_row(tx, stored.row, stored.entry.id));
      continue;
    }
    // A new revision, so that agents fetch the entry anew.
    TRY(tx.run("UPDATE registered_entries SET updated_at = ?, revision_number = ? WHERE id = ?",
               tx.now(), stored.entry.revision_number + 1, stored.row));
    TRY(tx.entry_changed(stored.entry.id));
  }
  TRY(tx.run("DELETE FROM federated_registration_entries WHERE bundle_id = ?", bundle));
  return {};
}

}  // namespace

Result<jose::Bundle> SqlStore::create_bundle(const jose::Bundle& bundle) {
  auto tx = TRY(write());
  TRY(insert_bundle(tx, bundle));
  TRY(finish(std::move(tx)));
  return bundle;
}

Result<jose::Bundle> SqlStore::set_bundle(const jose::Bundle& bundle) {
  auto tx = TRY(write());
  if (auto stored = TRY(read_bundle(tx, bundle.trust_domain))) {
    apply_bundle(bundle, {}, stored->blob);
    TRY(save_bundle(tx, bundle.trust_domain, *stored));
  } else {
    TRY(insert_bundle(tx, bundle));
  }
  TRY(finish(std::move(tx)));
  return bundle;
}

Result<jose::Bundle> SqlStore::append_bundle(const jose::Bundle& bundle) {
  auto tx = TRY(write());
  auto stored = TRY(read_bundle(tx, bundle.trust_domain));
  if (!stored) {
    TRY(insert_bundle(tx, bundle));
    TRY(finish(std::move(tx)));
    return bundle;
  }
  if (merge_bundle(bundle, stored->blob)) {
    next_sequence(stored->blob);
    TRY(save_bundle(tx, bundle.trust_domain, *stored));
  }
  auto result = TRY(bundle_from_blob(stored->blob));
  TRY(finish(std::move(tx)));
  return result;
}

Result<jose::Bundle> SqlStore::update_bundle(const jose::Bundle& bundle, const BundleMask& mask) {
  auto tx = TRY(write());
  auto stored = TRY(require_bundle(tx, bundle.trust_domain));
  apply_bundle(bundle, mask, stored.blob);
  TRY(save_bundle(tx, bundle.trust_domain, stored));
  auto result = TRY(bundle_from_blob(stored.blob));
  TRY(finish(std::move(tx)));
  return result;
}

Result<std::optional<jose::Bundle>> SqlStore::fetch_bundle(const spiffe::TrustDomain& domain) {
  auto tx = TRY(read());
  auto stored = TRY(read_bundle(tx, domain));
  if (!stored) {
    return std::optional<jose::Bundle>();
  }
  return std::optional<jose::Bundle>(TRY(bundle_from_blob(stored->blob)));
}

Result<Page<jose::Bundle>> SqlStore::list_bundles(const std::optional<Pagination>& page) {
  auto request = TRY(parse_page(page));
  auto tx = TRY(read());
  auto rows =
      TRY(tx.query("SELECT id, trust_domain, data FROM bundles WHERE id > ? ORDER BY id LIMIT ?",
                   request.after, request.limit));
  Page<jose::Bundle> answer;
  std::int64_t last = 0;
  while (TRY(rows.next())) {
    last = rows.integer(0);
    auto blob = TRY(parse_bundle_blob(rows.text(1), rows.text(2)));
    answer.items.push_back(TRY(bundle_from_blob(blob)));
  }
  answer.next = next_token(request, answer.items.size(), last);
  return answer;
}

Result<std::int32_t> SqlStore::count_bundles() {
  auto tx = TRY(read());
  return count_of(tx, "SELECT COUNT(*) FROM bundles", {});
}

Result<void> SqlStore::delete_bundle(const spiffe::TrustDomain& domain, BundleDeleteMode mode) {
  auto tx = TRY(write());
  auto stored = TRY(require_bundle(tx, domain));
  TRY(release_entries(tx, stored.row, mode));
  TRY(tx.run("DELETE FROM bundles WHERE id = ?", stored.row));
  tx.bundle_changed(domain);
  return finish(std::move(tx));
}

Result<bool> SqlStore::prune_bundle(const spiffe::TrustDomain& domain,
                                    std::int64_t expires_before) {
  auto tx = TRY(write());
  auto stored = TRY(read_bundle(tx, domain).during("unable to fetch current bundle"));
  if (!stored) {
    return false;
  }
  if (!TRY(prune_bundle_blob(expires_before, stored->blob).during("prune failed"))) {
    return false;
  }
  next_sequence(stored->blob);
  TRY(save_bundle(tx, domain, *stored).during("unable to write new bundle"));
  TRY(finish(std::move(tx)));
  return true;
}

Result<void> SqlStore::taint_x509_authority(const spiffe::TrustDomain& domain,
                                            std::string_view subject_key_id) {
  return change_authority(domain, subject_key_id, taint_x509);
}

Result<void> SqlStore::revoke_x509_authority(const spiffe::TrustDomain& domain,
                                             std::string_view subject_key_id) {
  return change_authority(domain, subject_key_id, revoke_x509);
}

Result<void> SqlStore::taint_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) {
  return change_authority(domain, kid, taint_jwt);
}

Result<void> SqlStore::revoke_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) {
  return change_authority(domain, kid, revoke_jwt);
}

Result<void> SqlStore::change_authority(const spiffe::TrustDomain& domain, std::string_view id,
                                        AuthorityChange change) {
  auto tx = TRY(write());
  auto stored = TRY(require_bundle(tx, domain));
  TRY(change(id, stored.blob));
  next_sequence(stored.blob);
  TRY(save_bundle(tx, domain, stored));
  return finish(std::move(tx));
}

}  // namespace steeple::server
