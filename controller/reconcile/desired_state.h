// SPDX-License-Identifier: Apache-2.0

// What should stand in SPIRE, and why: an index from pods, nodes, name spaces, endpoints and custom
// resources to entries. A change marks the pods that it touches; `work` renders those and no
// others. What is kept of an entry is two digests, since rendering it again is cheap. No input or
// output; on the loop.
//
// A source is what declares entries: a ClusterSPIFFEID, a ClusterStaticEntry, or the pods'
// annotation. Of several sources of one key the first by `precedence` wins, the others are masked.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "controller/reconcile/entry.h"
#include "controller/template/renderer.h"

namespace steeple::controller {

enum class SourceKind : std::uint8_t { kSpiffeId, kStaticEntry, kAnnotation };

struct SourceName {
  SourceKind kind;
  std::string name;

  friend auto operator<=>(const SourceName&, const SourceName&) = default;
};

enum class FailureKind : std::uint8_t {
  kUnscheduled,  // the pod has no node yet
  kNodeUnknown,
  kRender,
};

struct PodFailure {
  FailureKind kind;
  std::string message;

  friend bool operator==(const PodFailure&, const PodFailure&) = default;
};

// The counts of a ClusterSPIFFEID's status.
struct SourceStats {
  std::size_t namespaces_selected = 0;
  std::size_t namespaces_ignored = 0;
  std::size_t pods_selected = 0;
  std::size_t render_failures = 0;
  std::size_t entries_masked = 0;
  std::size_t entries_to_set = 0;

  friend bool operator==(const SourceStats&, const SourceStats&) = default;
};

class DesiredState {
 public:
  struct Options {
    ClassRule class_rule = {};
    std::function<bool(const std::string& name_space)> ignored;
  };
  struct Winner {
    SourceName source;
    std::string pod;  // "ns/name"; empty for static entries
    ContentDigest content;
  };

  DesiredState(Renderer renderer, Options options);
  ~DesiredState();
  DesiredState(const DesiredState&) = delete;
  DesiredState& operator=(const DesiredState&) = delete;

  // --- facts; what is equal to what is known does nothing ---
  void put_pod(const PodPtr& pod);
  void remove_pod(const std::string& key);
  void put_node(const std::string& name, Node node);
  void remove_node(const std::string& name);
  void put_namespace(const std::string& name, kube::Labels labels);
  void remove_namespace(const std::string& name);
  void put_endpoints(const std::string& key, Endpoints endpoints);
  void remove_endpoints(const std::string& key);
  // Resources of other classes are as good as absent.
  void put_spiffe_id(ClusterSpiffeId resource);
  void remove_spiffe_id(const std::string& name);
  void put_static_entry(ClusterStaticEntry resource);
  void remove_static_entry(const std::string& name);
  // The trust domains whose bundles the server has; nothing: not known, all count.
  void put_bundles(std::optional<std::set<std::string>> domains);

  // Renders at most so many marked pods; true when some are left.
  bool work(std::size_t pods_max);
  std::size_t marked() const { return marked_.size() + urgent_.size(); }

  // --- results ---
  // Keys whose winner may have changed since the last call.
  std::vector<EntryKey> take_changed();
  // Sources whose stats or failures may have changed since the last call.
  std::set<SourceName> take_touched();
  std::optional<Winner> winner(const EntryKey& key) const;
  // The entry of the winner, rendered anew.
  Result<Entry> render(const EntryKey& key) const;
  std::size_t declared() const { return groups_.size(); }
  void for_each_key(const std::function<void(const EntryKey&)>& visit) const;

  // --- for status ---
  const ClusterSpiffeId* spiffe_id(const std::string& name) const;
  const ClusterStaticEntry* static_entry(const std::string& name) const;
  SourceStats stats(const SourceName& source) const;
  // Pods that this source selects and that got no entry of it, at most `most`.
  std::vector<std::pair<std::string, PodFailure>> failures(const SourceName& source,
                                                           std::size_t most) const;
  // Domains of federatesWith whose bundle is not there.
  std::vector<std::string> missing_bundles(const SourceName& source) const;
  // The key of a static entry, when it could be made.
  std::optional<EntryKey> static_key(const std::string& name) const;
  bool wants_bundles() const;    // some source federates
  bool wants_endpoints() const;  // some source asks for service names
  std::size_t pods() const { return pods_.size(); }
  void for_each_pod(const std::function<void(const Pod&)>& visit) const;
  void for_each_node(const std::function<void(const std::string&)>& visit) const;

 private:
  struct Source;
  struct PodRecord;
  struct NodeRecord;
  struct NamespaceRecord;
  struct Outcome;
  struct Declared {
    Source* source;
    PodRecord* pod;  // null for static entries
    ContentDigest content;
  };
  using PodSet = std::unordered_set<PodRecord*>;
  using Group = std::vector<Declared>;  // the winner first

  // --- pods (desired_state.cc) ---
  void mark(PodRecord& pod, bool urgent);
  void mark_all(const PodSet& pods);
  void place(PodRecord& pod);
  void displace(PodRecord& pod);
  void evaluate(PodRecord& pod);
  std::vector<Outcome> outcomes_of(PodRecord& pod) const;
  Result<Entry> entry_of(const Source& source, const PodRecord& pod,
                         std::optional<gotemplate::Value>& data) const;
  bool selects(const Source& source, const PodRecord& pod) const;
  std::optional<PodFailure> unplaced(const PodRecord& pod) const;
  void add_outcome(PodRecord& pod, Outcome outcome);
  void drop_outcomes(PodRecord& pod, const Source* of);  // null: of all
  std::vector<std::string> service_names(const PodRecord& pod) const;
  NodeRecord& node_record(const std::string& name);
  NamespaceRecord& namespace_record(const std::string& name);

  // --- sources (sources.cc) ---
  void declare(const EntryKey& key, Declared declared);
  void withdraw(const EntryKey& key, const Source* source, const PodRecord* pod);
  void count(const Group& group, int sign);
  void touch(const Source& source);
  void touch_all();
  Source& source(const SourceName& name, const ObjectMeta& meta);
  void remove_source(const SourceName& name);
  void order_sources();
  void mark_concerned(const Source& source);
  void declare_static(Source& source);
  bool federate(Source& source) const;
  const Source* find(const SourceName& name) const;

  const Renderer renderer_;
  const Options options_;
  std::optional<std::set<std::string>> bundles_;
  std::map<SourceName, std::unique_ptr<Source>> sources_;
  std::vector<Source*> pod_sources_;  // that are in force, fallbacks last
  std::unordered_map<std::string, std::unique_ptr<PodRecord>> pods_;
  std::unordered_map<std::string, PodRecord*> pods_by_uid_;
  std::unordered_map<std::string, std::unique_ptr<NodeRecord>> nodes_;
  std::unordered_map<std::string, std::unique_ptr<NamespaceRecord>> namespaces_;
  std::unordered_map<std::string, Endpoints> endpoints_;
  std::unordered_map<std::string, std::set<std::string>> endpoints_of_uid_;
  std::unordered_map<EntryKey, Group> groups_;
  PodSet urgent_;  // single pods that changed, before the crowds that others mark
  PodSet marked_;
  std::unordered_set<EntryKey> changed_;
  std::set<SourceName> touched_;
};

}  // namespace steeple::controller
