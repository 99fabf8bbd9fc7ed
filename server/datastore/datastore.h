// SPDX-License-Identifier: Apache-2.0

// Datastore: everything the server keeps, in SPIRE's own schema. The interface is the seam;
// SqlDatastore is the one implementation (on a file, or in memory for simulations and tests).
//
// Calls block: call them on workers. Any thread, many at once. A call that returns OK has committed
// and is on disk. Errors are worded as SPIRE's ("datastore-sql: record not found"), with the gRPC
// code that SPIRE gives.
//
// Every change is told to the listeners after its commit and before the call returns, on the
// calling thread, so whoever gets the answer finds the index already changed. Changes of two
// threads may be told in either order: a listener re-reads what a batch names.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/jose/bundle.h"
#include "lib/sql/stamp.h"
#include "server/datastore/types.h"

namespace steeple::server {

// What one transaction changed. Created, updated and deleted are not told apart.
struct ChangeBatch {
  std::uint64_t revision = 0;  // counts the change batches of this process, from 1
  std::vector<std::string> entry_ids = {};
  std::vector<std::string> node_ids = {};  // SPIFFE IDs of attested nodes
  std::vector<spiffe::TrustDomain> bundles = {};
  // Rows of the event tables that this transaction wrote; none in a change of another process.
  std::vector<std::uint64_t> entry_events = {};
  std::vector<std::uint64_t> node_events = {};
  // Another process changed more than can be named: read everything anew.
  bool everything = false;
  bool empty() const {
    return entry_ids.empty() && node_ids.empty() && bundles.empty() && !everything;
  }
};

using ChangeListener = std::function<void(const ChangeBatch&)>;

// One of a batch of creates.
struct CreatedEntry {
  Entry entry;                   // as stored; the one that was there when `already_existed`
  bool already_existed = false;  // same parent, SPIFFE ID and selectors
};

// What a successful attestation leaves behind.
struct NodeAttestation {
  AttestedNode node;            // its selectors replace those that were there
  std::string join_token = {};  // spent with it; empty: none
};
enum class Attested : std::uint8_t { kYes, kBanned, kTokenGone };

class Datastore {
 public:
  virtual ~Datastore() = default;

  // --- entries: one transaction per call ------------------------------------------------------
  // Per-item results in the order of `entries`; an item that fails (unknown federated bundle, id
  // taken) does not stop the others. A similar entry gives `already_existed` with that entry.
  // The outer error is the transaction's: then nothing was written.
  virtual Result<std::vector<Result<CreatedEntry>>> create_entries(std::vector<Entry> entries) = 0;
  virtual Result<std::optional<Entry>> fetch_entry(std::string_view id) = 0;
  // Those of `ids` that exist, in no order.
  virtual Result<std::vector<Entry>> fetch_entries(std::span<const std::string> ids) = 0;
  virtual Result<Page<Entry>> list_entries(const EntryFilter& filter,
                                           const std::optional<Pagination>& page) = 0;
  virtual Result<std::int32_t> count_entries(const EntryFilter& filter) = 0;
  // Reads every entry in row order, in one snapshot. A row that holds foreign or corrupt values is
  // passed as an error that names it, and the scan goes on.
  virtual Result<void> scan_entries(const std::function<void(Result<Entry>)>& visit) = 0;
  struct EntryUpdate {
    Entry entry;  // `id` says which
    EntryMask mask = {};
  };
  // Raises revision_number by one. Per item kNotFound.
  virtual Result<std::vector<Result<Entry>>> update_entries(std::vector<EntryUpdate> updates) = 0;
  virtual Result<std::vector<Result<Entry>>> delete_entries(std::span<const std::string> ids) = 0;
  // Deletes entries whose expiry (not 0) lies before; gives them back.
  virtual Result<std::vector<Entry>> prune_entries(std::int64_t expires_before) = 0;

  // --- attested nodes -------------------------------------------------------------------------
  virtual Result<AttestedNode> create_node(const AttestedNode& node) = 0;  // without selectors
  virtual Result<std::optional<AttestedNode>> fetch_node(const spiffe::SpiffeId& id) = 0;
  // With selectors, those that exist.
  virtual Result<std::vector<AttestedNode>> fetch_nodes(std::span<const std::string> ids) = 0;
  virtual Result<Page<AttestedNode>> list_nodes(const AttestedNodeFilter& filter,
                                                const std::optional<Pagination>& page) = 0;
  virtual Result<std::int32_t> count_nodes(const AttestedNodeFilter& filter) = 0;
  virtual Result<AttestedNode> update_node(const AttestedNode& node,
                                           const AttestedNodeMask& mask) = 0;
  // Spends the token, creates the node (or gives a known one its new serial; type and agent version
  // stay) and sets its selectors: all or nothing, durable when it returns kYes. Of any number of
  // concurrent calls with one token exactly one gets kYes. Calls that wait for the disk at the same
  // time share one commit.
  virtual Result<Attested> attest_node(const NodeAttestation& attestation) = 0;
  // The first use of a renewed SVID: if `serial` is the node's new_serial it becomes the current
  // one, and the old one is done. Gives the node as it is then: unchanged when the serial is
  // another one, when the node was banned meanwhile, or when the same was done before.
  virtual Result<std::optional<AttestedNode>> activate_node_serial(const spiffe::SpiffeId& id,
                                                                   std::string_view serial) = 0;
  // With its selectors, and the entries of its join-token alias; gives back what it was.
  virtual Result<AttestedNode> delete_node(const spiffe::SpiffeId& id) = 0;
  // Deletes expired, not banned nodes; at most `batch`. Gives their number.
  virtual Result<std::int32_t> prune_nodes(std::int64_t expires_before,
                                           bool include_non_reattestable, std::int32_t batch) = 0;
  virtual Result<void> set_node_selectors(const spiffe::SpiffeId& id,
                                          std::span<const Selector> selectors) = 0;
  virtual Result<std::vector<Selector>> node_selectors(const spiffe::SpiffeId& id) = 0;
  // By SPIFFE ID text; `valid_at` (Unix seconds) leaves out nodes whose SVID has expired.
  virtual Result<std::map<std::string, std::vector<Selector>>> list_node_selectors(
      std::optional<std::int64_t> valid_at) = 0;

  // --- join tokens ----------------------------------------------------------------------------
  // The token and, in the same transaction, the alias entry of the agent that will use it, if any.
  virtual Result<void> create_join_token(const JoinToken& token,
                                         const std::optional<Entry>& agent_alias) = 0;
  virtual Result<std::optional<JoinToken>> fetch_join_token(std::string_view token) = 0;
  // Takes the token out; exactly one of any number of concurrent callers gets it.
  virtual Result<std::optional<JoinToken>> spend_join_token(std::string_view token) = 0;
  virtual Result<void> delete_join_token(std::string_view token) = 0;
  virtual Result<std::int32_t> prune_join_tokens(std::int64_t expires_before) = 0;

  // --- bundles --------------------------------------------------------------------------------
  virtual Result<jose::Bundle> create_bundle(const jose::Bundle& bundle) = 0;
  // Replaces or creates.
  virtual Result<jose::Bundle> set_bundle(const jose::Bundle& bundle) = 0;
  // Adds what is missing; creates when absent. The sequence number rises if anything was added.
  virtual Result<jose::Bundle> append_bundle(const jose::Bundle& bundle) = 0;
  virtual Result<jose::Bundle> update_bundle(const jose::Bundle& bundle,
                                             const BundleMask& mask) = 0;
  virtual Result<std::optional<jose::Bundle>> fetch_bundle(const spiffe::TrustDomain& domain) = 0;
  virtual Result<Page<jose::Bundle>> list_bundles(const std::optional<Pagination>& page) = 0;
  virtual Result<std::int32_t> count_bundles() = 0;
  virtual Result<void> delete_bundle(const spiffe::TrustDomain& domain, BundleDeleteMode mode) = 0;
  // Drops roots and JWT keys that expired before; true if it changed anything.
  virtual Result<bool> prune_bundle(const spiffe::TrustDomain& domain,
                                    std::int64_t expires_before) = 0;
  // Subject key ids and key ids as SPIRE writes them: lower-case hex, and the kid.
  virtual Result<void> taint_x509_authority(const spiffe::TrustDomain& domain,
                                            std::string_view subject_key_id) = 0;
  virtual Result<void> revoke_x509_authority(const spiffe::TrustDomain& domain,
                                             std::string_view subject_key_id) = 0;
  virtual Result<void> taint_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) = 0;
  virtual Result<void> revoke_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) = 0;

  // --- federation relationships ---------------------------------------------------------------
  virtual Result<FederationRelationship> create_federation_relationship(
      const FederationRelationship& relationship) = 0;
  virtual Result<std::optional<FederationRelationship>> fetch_federation_relationship(
      const spiffe::TrustDomain& domain) = 0;
  virtual Result<Page<FederationRelationship>> list_federation_relationships(
      const std::optional<Pagination>& page) = 0;
  virtual Result<FederationRelationship> update_federation_relationship(
      const FederationRelationship& relationship, const FederationRelationshipMask& mask) = 0;
  virtual Result<void> delete_federation_relationship(const spiffe::TrustDomain& domain) = 0;

  // --- CA journals ----------------------------------------------------------------------------
  // id 0 creates.
  virtual Result<CaJournal> set_ca_journal(const CaJournal& journal) = 0;
  virtual Result<std::optional<CaJournal>> fetch_ca_journal(
      std::string_view active_x509_authority_id) = 0;
  virtual Result<std::vector<CaJournal>> list_ca_journals() = 0;
  // Deletes journals of which every authority ended before.
  virtual Result<std::int32_t> prune_ca_journals(std::int64_t all_end_before) = 0;

  // --- changes by any server on this database ---------------------------------------------------
  // Events with an id above `after`, rising; at most `limit`.
  virtual Result<std::vector<EntryEvent>> list_entry_events(std::uint64_t after,
                                                            std::int32_t limit) = 0;
  virtual Result<std::vector<AttestedNodeEvent>> list_node_events(std::uint64_t after,
                                                                  std::int32_t limit) = 0;
  // Those of `ids` that exist, in rising order.
  virtual Result<std::vector<EntryEvent>> fetch_entry_events(
      std::span<const std::uint64_t> ids) = 0;
  virtual Result<std::vector<AttestedNodeEvent>> fetch_node_events(
      std::span<const std::uint64_t> ids) = 0;
  // By trust domain name, a text that is another one after each write of the bundle. Bundles have
  // no event table.
  virtual Result<std::map<std::string, std::string>> bundle_versions() = 0;
  // The highest ids so far; 0 when there was none yet.
  virtual Result<EventPosition> event_position() = 0;
  // Deletes events older than that (Unix seconds).
  virtual Result<void> prune_events(std::int64_t created_before) = 0;

  // --- listening ------------------------------------------------------------------------------
  class [[nodiscard]] Subscription {
   public:
    virtual ~Subscription() = default;
  };
  // Tells the listeners of a change that another process made (event_follower.h).
  virtual void announce(ChangeBatch batch) = 0;
  // See sql::Database::stamp.
  virtual std::optional<sql::Stamp> stamp() = 0;
  // Until the subscription dies; then no call is under way any more.
  virtual std::unique_ptr<Subscription> subscribe(ChangeListener listener) = 0;

  // --- whole database ---------------------------------------------------------------------------
  // The trust domain of some stored entry's SPIFFE ID that is not `own`, if there is one: the
  // caller refuses to start on another trust domain's database.
  virtual Result<std::optional<spiffe::TrustDomain>> foreign_trust_domain(
      const spiffe::TrustDomain& own) = 0;
  // Answers if a trivial read works (health checks).
  virtual Result<void> ping() = 0;
};

}  // namespace steeple::server
