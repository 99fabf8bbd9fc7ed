// SPDX-License-Identifier: Apache-2.0

// The class behind open_sql_datastore. Its methods are defined by subject: entry_reads.cc,
// entry_writes.cc, nodes.cc, bundles.cc, records.cc. Internal to server/datastore.

#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/guarded.h"
#include "lib/base/random.h"
#include "server/datastore/datastore.h"
#include "server/datastore/sql_tx.h"

namespace spire::common {
class Bundle;
}  // namespace spire::common

namespace steeple::server {

// An entry and its row id.
struct StoredEntry {
  std::int64_t row = 0;
  Entry entry;
};

class SqlStore final : public Datastore {
 public:
  SqlStore(std::shared_ptr<sql::Database> database, Clock& clock, Random& random)
      : database_(std::move(database)), clock_(clock), random_(random) {}

  Result<std::vector<Result<CreatedEntry>>> create_entries(std::vector<Entry> entries) override;
  Result<std::optional<Entry>> fetch_entry(std::string_view id) override;
  Result<std::vector<Entry>> fetch_entries(std::span<const std::string> ids) override;
  Result<Page<Entry>> list_entries(const EntryFilter& filter,
                                   const std::optional<Pagination>& page) override;
  Result<std::int32_t> count_entries(const EntryFilter& filter) override;
  Result<void> scan_entries(const std::function<void(Result<Entry>)>& visit) override;
  Result<std::vector<Result<Entry>>> update_entries(std::vector<EntryUpdate> updates) override;
  Result<std::vector<Result<Entry>>> delete_entries(std::span<const std::string> ids) override;
  Result<std::vector<Entry>> prune_entries(std::int64_t expires_before) override;

  Result<AttestedNode> create_node(const AttestedNode& node) override;
  Result<std::optional<AttestedNode>> fetch_node(const spiffe::SpiffeId& id) override;
  Result<std::vector<AttestedNode>> fetch_nodes(std::span<const std::string> ids) override;
  Result<Page<AttestedNode>> list_nodes(const AttestedNodeFilter& filter,
                                        const std::optional<Pagination>& page) override;
  Result<std::int32_t> count_nodes(const AttestedNodeFilter& filter) override;
  Result<AttestedNode> update_node(const AttestedNode& node, const AttestedNodeMask& mask) override;
  Result<Attested> attest_node(const NodeAttestation& attestation) override;
  Result<std::optional<AttestedNode>> activate_node_serial(const spiffe::SpiffeId& id,
                                                           std::string_view serial) override;
  Result<AttestedNode> delete_node(const spiffe::SpiffeId& id) override;
  Result<std::int32_t> prune_nodes(std::int64_t expires_before, bool include_non_reattestable,
                                   std::int32_t batch) override;
  Result<void> set_node_selectors(const spiffe::SpiffeId& id,
                                  std::span<const Selector> selectors) override;
  Result<std::vector<Selector>> node_selectors(const spiffe::SpiffeId& id) override;
  Result<std::map<std::string, std::vector<Selector>>> list_node_selectors(
      std::optional<std::int64_t> valid_at) override;

  Result<void> create_join_token(const JoinToken& token,
                                 const std::optional<Entry>& agent_alias) override;
  Result<std::optional<JoinToken>> fetch_join_token(std::string_view token) override;
  Result<std::optional<JoinToken>> spend_join_token(std::string_view token) override;
  Result<void> delete_join_token(std::string_view token) override;
  Result<std::int32_t> prune_join_tokens(std::int64_t expires_before) override;

  Result<jose::Bundle> create_bundle(const jose::Bundle& bundle) override;
  Result<jose::Bundle> set_bundle(const jose::Bundle& bundle) override;
  Result<jose::Bundle> append_bundle(const jose::Bundle& bundle) override;
  Result<jose::Bundle> update_bundle(const jose::Bundle& bundle, const BundleMask& mask) override;
  Result<std::optional<jose::Bundle>> fetch_bundle(const spiffe::TrustDomain& domain) override;
  Result<Page<jose::Bundle>> list_bundles(const std::optional<Pagination>& page) override;
  Result<std::int32_t> count_bundles() override;
  Result<void> delete_bundle(const spiffe::TrustDomain& domain, BundleDeleteMode mode) override;
  Result<bool> prune_bundle(const spiffe::TrustDomain& domain,
                            std::int64_t expires_before) override;
  Result<void> taint_x509_authority(const spiffe::TrustDomain& domain,
                                    std::string_view subject_key_id) override;
  Result<void> revoke_x509_authority(const spiffe::TrustDomain& domain,
                                     std::string_view subject_key_id) override;
  Result<void> taint_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) override;
  Result<void> revoke_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) override;

  Result<FederationRelationship> create_federation_relationship(
      const FederationRelationship& relationship) override;
  Result<std::optional<FederationRelationship>> fetch_federation_relationship(
      const spiffe::TrustDomain& domain) override;
  Result<Page<FederationRelationship>> list_federation_relationships(
      const std::optional<Pagination>& page) override;
  Result<FederationRelationship> update_federation_relationship(
      const FederationRelationship& relationship, const FederationRelationshipMask& mask) override;
  Result<void> delete_federation_relationship(const spiffe::TrustDomain& domain) override;

  Result<CaJournal> set_ca_journal(const CaJournal& journal) override;
  Result<std::optional<CaJournal>> fetch_ca_journal(
      std::string_view active_x509_authority_id) override;
  Result<std::vector<CaJournal>> list_ca_journals() override;
  Result<std::int32_t> prune_ca_journals(std::int64_t all_end_before) override;

  Result<std::vector<EntryEvent>> list_entry_events(std::uint64_t after,
                                                    std::int32_t limit) override;
  Result<std::vector<AttestedNodeEvent>> list_node_events(std::uint64_t after,
                                                          std::int32_t limit) override;
  Result<std::vector<EntryEvent>> fetch_entry_events(std::span<const std::uint64_t> ids) override;
  Result<std::vector<AttestedNodeEvent>> fetch_node_events(
      std::span<const std::uint64_t> ids) override;
  Result<std::map<std::string, std::string>> bundle_versions() override;
  Result<EventPosition> event_position() override;
  Result<void> prune_events(std::int64_t created_before) override;

  void announce(ChangeBatch batch) override;
  std::optional<sql::Stamp> stamp() override { return database_->stamp(); }
  std::unique_ptr<Subscription> subscribe(ChangeListener listener) override;
  Result<std::optional<spiffe::TrustDomain>> foreign_trust_domain(
      const spiffe::TrustDomain& own) override;
  Result<void> ping() override;

 private:
  struct Listener {
    Guarded<bool> alive{true};  // held during a call
    ChangeListener tell;
  };
  using Listeners = Guarded<std::vector<std::shared_ptr<Listener>>>;
  class ListenerSubscription;
  struct WaitingAttestation;

  Result<Tx> read();
  Result<Tx> write();
  // Commits, then tells the listeners: also when the commit failed, since such an error does not
  // always mean that nothing was written, and what listeners keep must not be older than that.
  Result<void> finish(Tx tx);
  // `wrote`: an error came too late to leave no trace in the transaction.
  // All of `batch` in one transaction; the first error that is not one item's own ends it.
  Result<std::vector<Result<Attested>>> attest_all(
      Tx tx, const std::vector<std::shared_ptr<WaitingAttestation>>& batch);
  Result<CreatedEntry> create_entry(Tx& tx, Entry entry, bool* wrote = nullptr);
  // All of a batch at once; nullopt, and nothing done, when one failed after it wrote.
  Result<std::optional<std::vector<Result<CreatedEntry>>>> create_all(
      const std::vector<Entry>& entries);
  // Each behind its own savepoint.
  Result<std::vector<Result<CreatedEntry>>> create_each(std::vector<Entry> entries);
  Result<Entry> update_entry(Tx& tx, const EntryUpdate& update);
  // One authority of a bundle, with the next sequence number.
  using AuthorityChange = Result<void> (*)(std::string_view id, spire::common::Bundle& blob);
  Result<void> change_authority(const spiffe::TrustDomain& domain, std::string_view id,
                                AuthorityChange change);

  std::shared_ptr<sql::Database> database_;
  Clock& clock_;
  Random& random_;
  std::atomic<std::uint64_t> revision_{0};
  std::shared_ptr<Listeners> listeners_ = std::make_shared<Listeners>();
  Guarded<std::vector<std::shared_ptr<WaitingAttestation>>> attestations_;  // not yet begun
};

// --- shared by the files above -------------------------------------------------------------------

// Reads entries with a WHERE clause and everything after it ("ORDER BY ..."), with their selectors,
// DNS names and trust domains, in row order. Rows that cannot be read are given to `bad`; without
// it the first one fails the whole call.
using BadRow = std::function<void(Error)>;
Result<std::vector<StoredEntry>> read_entries(Tx& tx, std::string_view clauses,
                                              std::span<const sql::Argument> arguments,
                                              const BadRow* bad = nullptr,
                                              std::int64_t* last_row = nullptr);
Result<std::optional<StoredEntry>> read_entry(Tx& tx, std::string_view entry_id);
// By entry id, any number.
Result<std::vector<StoredEntry>> read_entries_by_id(Tx& tx, std::span<const std::string> ids);
// Deletes the row and what hangs on it, with its event.
Result<void> delete_entry_row(Tx& tx, std::int64_t row, const std::string& entry_id);
// A node's row, new or changed, with its event; its selectors.
struct StoredNode {
  std::int64_t row = 0;
  AttestedNode node;
};
Result<std::optional<StoredNode>> read_node(Tx& tx, const spiffe::SpiffeId& id);
Result<void> insert_node(Tx& tx, const AttestedNode& node);
Result<void> write_node(Tx& tx, const StoredNode& stored);
Result<void> replace_selectors(Tx& tx, const spiffe::SpiffeId& id,
                               std::span<const Selector> selectors);
Result<std::int32_t> count_of(Tx& tx, std::string_view sql,
                              std::span<const sql::Argument> arguments);

}  // namespace steeple::server
