// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/metered_datastore.h"

#include <array>
#include <chrono>

namespace steeple::server {
namespace {

class MeteredDatastore final : public Datastore {
 public:
  MeteredDatastore(std::unique_ptr<Datastore> store, Metrics& metrics, Clock& clock)
      : store_(std::move(store)), metrics_(metrics), clock_(clock) {}

  Result<std::vector<Result<CreatedEntry>>> create_entries(std::vector<Entry> entries) override {
    return batch("datastore.registration_entry.create",
                 [&] { return store_->create_entries(std::move(entries)); });
  }
  Result<std::optional<Entry>> fetch_entry(std::string_view id) override {
    return counted("datastore.registration_entry.fetch", [&] { return store_->fetch_entry(id); });
  }
  Result<std::vector<Entry>> fetch_entries(std::span<const std::string> ids) override {
    return counted("datastore.registration_entry.fetch",
                   [&] { return store_->fetch_entries(ids); });
  }
  Result<Page<Entry>> list_entries(const EntryFilter& filter,
                                   const std::optional<Pagination>& page) override {
    return counted("datastore.registration_entry.list",
                   [&] { return store_->list_entries(filter, page); });
  }
  Result<std::int32_t> count_entries(const EntryFilter& filter) override {
    return counted("datastore.registration_entry.count",
                   [&] { return store_->count_entries(filter); });
  }
  Result<void> scan_entries(const std::function<void(Result<Entry>)>& visit) override {
    return counted("datastore.registration_entry.list",
                   [&] { return store_->scan_entries(visit); });
  }
  Result<std::vector<Result<Entry>>> update_entries(std::vector<EntryUpdate> updates) override {
    return batch("datastore.registration_entry.update",
                 [&] { return store_->update_entries(std::move(updates)); });
  }
  Result<std::vector<Result<Entry>>> delete_entries(std::span<const std::string> ids) override {
    return batch("datastore.registration_entry.delete",
                 [&] { return store_->delete_entries(ids); });
  }
  Result<std::vector<Entry>> prune_entries(std::int64_t expires_before) override {
    return counted("datastore.registration_entry.prune",
                   [&] { return store_->prune_entries(expires_before); });
  }
  Result<AttestedNode> create_node(const AttestedNode& node) override {
    return counted("datastore.node.create", [&] { return store_->create_node(node); });
  }
  Result<std::optional<AttestedNode>> fetch_node(const spiffe::SpiffeId& id) override {
    return counted("datastore.node.fetch", [&] { return store_->fetch_node(id); });
  }
  Result<std::vector<AttestedNode>> fetch_nodes(std::span<const std::string> ids) override {
    return counted("datastore.node.fetch", [&] { return store_->fetch_nodes(ids); });
  }
  Result<Page<AttestedNode>> list_nodes(const AttestedNodeFilter& filter,
                                        const std::optional<Pagination>& page) override {
    return counted("datastore.node.list", [&] { return store_->list_nodes(filter, page); });
  }
  Result<std::int32_t> count_nodes(const AttestedNodeFilter& filter) override {
    return counted("datastore.node.count", [&] { return store_->count_nodes(filter); });
  }
  Result<AttestedNode> update_node(const AttestedNode& node,
                                   const AttestedNodeMask& mask) override {
    return counted("datastore.node.update", [&] { return store_->update_node(node, mask); });
  }
  Result<Attested> attest_node(const NodeAttestation& attestation) override {
    // One transaction of what the reference does in three calls.
    auto store = [&] {
      return counted("datastore.node.selectors.set", [&] {
        return counted("datastore.node.create", [&] { return store_->attest_node(attestation); });
      });
    };
    return attestation.join_token.empty() ? store() : counted("datastore.join_token.delete", store);
  }
  Result<std::optional<AttestedNode>> activate_node_serial(const spiffe::SpiffeId& id,
                                                           std::string_view serial) override {
    return counted("datastore.node.update",
                   [&] { return store_->activate_node_serial(id, serial); });
  }
  Result<AttestedNode> delete_node(const spiffe::SpiffeId& id) override {
    return counted("datastore.node.delete", [&] { return store_->delete_node(id); });
  }
  Result<std::int32_t> prune_nodes(std::int64_t expires_before, bool include_non_reattestable,
                                   std::int32_t batch) override {
    return counted("datastore.node.prune", [&] {
      return store_->prune_nodes(expires_before, include_non_reattestable, batch);
    });
  }
  Result<void> set_node_selectors(const spiffe::SpiffeId& id,
                                  std::span<const Selector> selectors) override {
    return counted("datastore.node.selectors.set",
                   [&] { return store_->set_node_selectors(id, selectors); });
  }
  Result<std::vector<Selector>> node_selectors(const spiffe::SpiffeId& id) override {
    return counted("datastore.node.selectors.fetch", [&] { return store_->node_selectors(id); });
  }
  Result<std::map<std::string, std::vector<Selector>>> list_node_selectors(
      std::optional<std::int64_t> valid_at) override {
    return counted("datastore.node.selectors.list",
                   [&] { return store_->list_node_selectors(valid_at); });
  }
  Result<void> create_join_token(const JoinToken& token,
                                 const std::optional<Entry>& agent_alias) override {
    return counted("datastore.join_token.create",
                   [&] { return store_->create_join_token(token, agent_alias); });
  }
  Result<std::optional<JoinToken>> fetch_join_token(std::string_view token) override {
    return counted("datastore.join_token.fetch", [&] { return store_->fetch_join_token(token); });
  }
  Result<std::optional<JoinToken>> spend_join_token(std::string_view token) override {
    // One transaction of what the reference does in two calls.
    return counted("datastore.join_token.fetch", [&] {
      return counted("datastore.join_token.delete",
                     [&] { return store_->spend_join_token(token); });
    });
  }
  Result<void> delete_join_token(std::string_view token) override {
    return counted("datastore.join_token.delete", [&] { return store_->delete_join_token(token); });
  }
  Result<std::int32_t> prune_join_tokens(std::int64_t expires_before) override {
    return counted("datastore.join_token.prune",
                   [&] { return store_->prune_join_tokens(expires_before); });
  }
  Result<jose::Bundle> create_bundle(const jose::Bundle& bundle) override {
    return counted("datastore.bundle.create", [&] { return store_->create_bundle(bundle); });
  }
  Result<jose::Bundle> set_bundle(const jose::Bundle& bundle) override {
    return counted("datastore.bundle.set", [&] { return store_->set_bundle(bundle); });
  }
  Result<jose::Bundle> append_bundle(const jose::Bundle& bundle) override {
    return counted("datastore.bundle.append", [&] { return store_->append_bundle(bundle); });
  }
  Result<jose::Bundle> update_bundle(const jose::Bundle& bundle, const BundleMask& mask) override {
    return counted("datastore.bundle.update", [&] { return store_->update_bundle(bundle, mask); });
  }
  Result<std::optional<jose::Bundle>> fetch_bundle(const spiffe::TrustDomain& domain) override {
    return counted("datastore.bundle.fetch", [&] { return store_->fetch_bundle(domain); });
  }
  Result<Page<jose::Bundle>> list_bundles(const std::optional<Pagination>& page) override {
    return counted("datastore.bundle.list", [&] { return store_->list_bundles(page); });
  }
  Result<std::int32_t> count_bundles() override {
    return counted("datastore.bundle.count", [&] { return store_->count_bundles(); });
  }
  Result<void> delete_bundle(const spiffe::TrustDomain& domain, BundleDeleteMode mode) override {
    return counted("datastore.bundle.delete", [&] { return store_->delete_bundle(domain, mode); });
  }
  Result<bool> prune_bundle(const spiffe::TrustDomain& domain,
                            std::int64_t expires_before) override {
    return counted("datastore.bundle.prune",
                   [&] { return store_->prune_bundle(domain, expires_before); });
  }
  Result<void> taint_x509_authority(const spiffe::TrustDomain& domain,
                                    std::string_view subject_key_id) override {
    return counted("datastore.bundle.x509.taint",
                   [&] { return store_->taint_x509_authority(domain, subject_key_id); });
  }
  Result<void> revoke_x509_authority(const spiffe::TrustDomain& domain,
                                     std::string_view subject_key_id) override {
    return counted("datastore.bundle.x509.revoke",
                   [&] { return store_->revoke_x509_authority(domain, subject_key_id); });
  }
  Result<void> taint_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) override {
    return counted("datastore.bundle.jwt.taint",
                   [&] { return store_->taint_jwt_key(domain, kid); });
  }
  Result<void> revoke_jwt_key(const spiffe::TrustDomain& domain, std::string_view kid) override {
    return counted("datastore.bundle.jwt.revoke",
                   [&] { return store_->revoke_jwt_key(domain, kid); });
  }
  Result<FederationRelationship> create_federation_relationship(
      const FederationRelationship& relationship) override {
    return counted("datastore.federation_relationship.create",
                   [&] { return store_->create_federation_relationship(relationship); });
  }
  Result<std::optional<FederationRelationship>> fetch_federation_relationship(
      const spiffe::TrustDomain& domain) override {
    return counted("datastore.federation_relationship.fetch",
                   [&] { return store_->fetch_federation_relationship(domain); });
  }
  Result<Page<FederationRelationship>> list_federation_relationships(
      const std::optional<Pagination>& page) override {
    return counted("datastore.federation_relationship.list",
                   [&] { return store_->list_federation_relationships(page); });
  }
  Result<FederationRelationship> update_federation_relationship(
      const FederationRelationship& relationship, const FederationRelationshipMask& mask) override {
    return counted("datastore.federation_relationship.update",
                   [&] { return store_->update_federation_relationship(relationship, mask); });
  }
  Result<void> delete_federation_relationship(const spiffe::TrustDomain& domain) override {
    return counted("datastore.federation_relationship.delete",
                   [&] { return store_->delete_federation_relationship(domain); });
  }
  Result<CaJournal> set_ca_journal(const CaJournal& journal) override {
    return counted("datastore.ca_journal.set", [&] { return store_->set_ca_journal(journal); });
  }
  Result<std::optional<CaJournal>> fetch_ca_journal(
      std::string_view active_x509_authority_id) override {
    return counted("datastore.ca_journal.fetch",
                   [&] { return store_->fetch_ca_journal(active_x509_authority_id); });
  }
  Result<std::vector<CaJournal>> list_ca_journals() override {
    return counted("datastore.ca_journal.fetch", [&] { return store_->list_ca_journals(); });
  }
  Result<std::int32_t> prune_ca_journals(std::int64_t all_end_before) override {
    return counted("datastore.ca_journal.prune",
                   [&] { return store_->prune_ca_journals(all_end_before); });
  }
  Result<std::vector<EntryEvent>> list_entry_events(std::uint64_t after,
                                                    std::int32_t limit) override {
    return counted("datastore.registration_entry_event.list",
                   [&] { return store_->list_entry_events(after, limit); });
  }
  Result<std::vector<AttestedNodeEvent>> list_node_events(std::uint64_t after,
                                                          std::int32_t limit) override {
    return counted("datastore.node_event.list",
                   [&] { return store_->list_node_events(after, limit); });
  }
  Result<std::vector<EntryEvent>> fetch_entry_events(std::span<const std::uint64_t> ids) override {
    return counted("datastore.registration_entry_event.fetch",
                   [&] { return store_->fetch_entry_events(ids); });
  }
  Result<std::vector<AttestedNodeEvent>> fetch_node_events(
      std::span<const std::uint64_t> ids) override {
    return counted("datastore.node_event.fetch", [&] { return store_->fetch_node_events(ids); });
  }
  Result<std::map<std::string, std::string>> bundle_versions() override {
    return store_->bundle_versions();
  }
  Result<EventPosition> event_position() override {
    return counted("datastore.registration_entry_event.list", [&] {
      return counted("datastore.node_event.list", [&] { return store_->event_position(); });
    });
  }
  Result<void> prune_events(std::int64_t created_before) override {
    return counted("datastore.registration_entry_event.prune", [&] {
      return counted("datastore.node_event.prune",
                     [&] { return store_->prune_events(created_before); });
    });
  }
  std::optional<sql::Stamp> stamp() override { return store_->stamp(); }
  void announce(ChangeBatch batch) override { return store_->announce(std::move(batch)); }
  std::unique_ptr<Subscription> subscribe(ChangeListener listener) override {
    return store_->subscribe(std::move(listener));
  }
  Result<std::optional<spiffe::TrustDomain>> foreign_trust_domain(
      const spiffe::TrustDomain& own) override {
    return store_->foreign_trust_domain(own);
  }
  Result<void> ping() override { return store_->ping(); }

 private:
  template <class Call>
  auto counted(std::string_view key, Call call) -> decltype(call()) {
    CallCounter counter(metrics_, clock_, key);
    auto result = call();
    counter.done(result);
    return result;
  }

  template <class Call>
  auto batch(std::string_view key, Call call) -> decltype(call()) {
    SteadyTime start = clock_.steady();
    auto results = call();
    std::chrono::duration<double, std::milli> took = clock_.steady() - start;
    if (!results.ok()) {
      item(key, results.error().code, took.count());
      return results;
    }
    for (const auto& result : *results) {
      item(key, result.ok() ? Code::kOk : result.error().code,
           took.count() / static_cast<double>(results->size()));
    }
    return results;
  }

  void item(std::string_view key, Code code, double milliseconds) {
    std::string status = code_name(code);
    std::array<MetricLabel, 1> labels{MetricLabel{"status", status}};
    metrics_.count(key, 1, labels);
    metrics_.sample(std::string(key) + ".elapsed_time", milliseconds, labels);
  }

  std::unique_ptr<Datastore> store_;
  Metrics& metrics_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<Datastore> with_metrics(std::unique_ptr<Datastore> store, Metrics& metrics,
                                        Clock& clock) {
  if (!metrics.enabled()) {
    return store;
  }
  return std::make_unique<MeteredDatastore>(std::move(store), metrics, clock);
}

}  // namespace steeple::server
