// SPDX-License-Identifier: Apache-2.0

// What must be true, kept apart from the code under test: the history of every entry and federated
// bundle with the moments of request and acknowledgement, which nodes are disturbed since when, and
// what follows for a workload. A version may be in effect from its request until the
// acknowledgement of the next one, and surely is from its acknowledgement to the next request.
//
// An agent that nothing disturbs knows what happened kFast ago; one that was disturbed knows at
// least what it knew before that. It counts as undisturbed again kSettle after the last fault.

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"

namespace steeple::simulation {

inline constexpr auto kFast = std::chrono::seconds(15);
inline constexpr auto kSettle = std::chrono::minutes(15);
inline constexpr SteadyTime kNever = SteadyTime::max();

// "unix:uid:7" without the type.
using SelectorSet = std::set<std::string>;

struct EntryVersion {
  bool present = true;  // false: deleted
  std::string path;     // of the SPIFFE ID; never used by another entry or for another version
  std::string parent;   // path: "/node/0" or "/group/1"
  SelectorSet selectors;
  std::string hint;
  bool federated = false;
  SteadyTime sent{};
  SteadyTime acknowledged = kNever;  // not yet known
};

struct BundleVersion {
  Bytes root;  // DER
  SteadyTime sent{};
  SteadyTime acknowledged = kNever;
};

class Oracle {
 public:
  // --- nodes ---
  void add_node(std::size_t node);
  void begin_fault(std::size_t node, SteadyTime now);
  void end_fault(std::size_t node, SteadyTime now);
  bool disturbed(std::size_t node) const { return nodes_.at(node).active > 0; }
  bool quiet(std::size_t node, SteadyTime now) const;
  // The agent has seen everything that was acknowledged before this.
  SteadyTime known(std::size_t node, SteadyTime now) const;
  // The same for what a workload holds, which may wait for its next try.
  SteadyTime settled(std::size_t node, SteadyTime now) const;
  // A new run of the agent, which holds no SVIDs of its workloads.
  void agent_started(std::size_t node, SteadyTime now) { nodes_.at(node).agent_started = now; }
  // It may lack SVIDs of entries that it knows: it was started while disturbed.
  bool may_lack_svids(std::size_t node, SteadyTime now) const {
    const Node& state = nodes_.at(node);
    return !quiet(node, now) && state.agent_started >= state.since;
  }

  // --- entries ---
  void add_group(const std::string& path, std::set<std::size_t> nodes);
  std::vector<EntryVersion>& entry(const std::string& id) { return entries_[id]; }
  const std::map<std::string, std::vector<EntryVersion>>& entries() const { return entries_; }
  // Entries that are surely there now, by id.
  std::vector<std::string> living() const;
  // May a workload with these selectors be given this now?
  bool may_have(std::size_t node, const SelectorSet& selectors, const std::string& path,
                SteadyTime now) const;
  // Paths (and hints) that a workload must have whose agent knows all until `since`.
  std::map<std::string, const EntryVersion*> must_have(std::size_t node,
                                                       const SelectorSet& selectors,
                                                       SteadyTime since) const;

  // --- the federated bundle ---
  std::vector<BundleVersion>& federated() { return federated_; }
  bool may_be_federated(ByteView root, std::size_t node, SteadyTime now) const;

 private:
  struct Node {
    int active = 0;
    SteadyTime since{};  // of the disturbance, short pauses included
    SteadyTime ended{};
    SteadyTime agent_started{};
  };
  bool reaches(const EntryVersion& version, std::size_t node) const;
  static bool matches(const EntryVersion& version, const SelectorSet& selectors);

  std::map<std::size_t, Node> nodes_;
  std::map<std::string, std::set<std::size_t>> groups_;
  std::map<std::string, std::vector<EntryVersion>> entries_;
  std::vector<BundleVersion> federated_;
};

}  // namespace steeple::simulation
