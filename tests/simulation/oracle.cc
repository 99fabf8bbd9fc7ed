// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/oracle.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/check.h"

namespace steeple::simulation {

void Oracle::add_node(std::size_t node) { nodes_[node]; }

void Oracle::begin_fault(std::size_t node, SteadyTime now) {
  Node& state = nodes_.at(node);
  if (state.active == 0 && now - state.ended >= kSettle) {
    state.since = now;
  }
  ++state.active;
}

void Oracle::end_fault(std::size_t node, SteadyTime now) {
  Node& state = nodes_.at(node);
  CHECK(state.active > 0);
  --state.active;
  state.ended = now;
}

bool Oracle::quiet(std::size_t node, SteadyTime now) const {
  const Node& state = nodes_.at(node);
  return state.active == 0 && now - state.ended >= kSettle;
}

SteadyTime Oracle::known(std::size_t node, SteadyTime now) const {
  return (quiet(node, now) ? now : nodes_.at(node).since) - kFast;
}

SteadyTime Oracle::settled(std::size_t node, SteadyTime now) const {
  return (quiet(node, now) ? now : nodes_.at(node).since) - kSettle;
}

void Oracle::add_group(const std::string& path, std::set<std::size_t> nodes) {
  groups_[path] = std::move(nodes);
}

std::vector<std::string> Oracle::living() const {
  std::vector<std::string> out;
  for (const auto& [id, versions] : entries_) {
    if (versions.back().present && versions.back().acknowledged != kNever) {
      out.push_back(id);
    }
  }
  return out;
}

bool Oracle::reaches(const EntryVersion& version, std::size_t node) const {
  auto group = groups_.find(version.parent);
  return group != groups_.end() ? group->second.contains(node)
                                : version.parent == fmt::format("/node/{}", node);
}

bool Oracle::matches(const EntryVersion& version, const SelectorSet& selectors) {
  return std::ranges::includes(selectors, version.selectors);
}

bool Oracle::may_have(std::size_t node, const SelectorSet& selectors, const std::string& path,
                      SteadyTime now) const {
  SteadyTime since = known(node, now);
  for (const auto& [id, versions] : entries_) {
    for (std::size_t i = 0; i < versions.size(); ++i) {
      const EntryVersion& version = versions[i];
      SteadyTime until = i + 1 < versions.size() ? versions[i + 1].acknowledged : kNever;
      if (version.present && version.path == path && until >= since && reaches(version, node) &&
          matches(version, selectors)) {
        return true;
      }
    }
  }
  return false;
}

std::map<std::string, const EntryVersion*> Oracle::must_have(std::size_t node,
                                                             const SelectorSet& selectors,
                                                             SteadyTime since) const {
  std::map<std::string, const EntryVersion*> out;
  for (const auto& [id, versions] : entries_) {
    const EntryVersion& last = versions.back();
    if (last.present && last.acknowledged <= since && reaches(last, node) &&
        matches(last, selectors)) {
      out.emplace(last.path, &last);
    }
  }
  return out;
}

bool Oracle::may_be_federated(ByteView root, std::size_t node, SteadyTime now) const {
  SteadyTime since = known(node, now);
  for (std::size_t i = 0; i < federated_.size(); ++i) {
    SteadyTime until = i + 1 < federated_.size() ? federated_[i + 1].acknowledged : kNever;
    if (federated_[i].root == root && until >= since) {
      return true;
    }
  }
  return false;
}

}  // namespace steeple::simulation
