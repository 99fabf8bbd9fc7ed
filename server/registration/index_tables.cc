// SPDX-License-Identifier: Apache-2.0

#include "server/registration/index_tables.h"

#include <algorithm>
#include <unordered_set>

namespace steeple::server {
namespace {

std::string selector_key(std::string_view type, std::string_view value) {
  std::string key;
  key.reserve(type.size() + 1 + value.size());
  key += type;
  key += ':';  // a type holds no ':'
  key += value;
  return key;
}

std::vector<std::string> selector_keys(const IndexedEntry& entry) {
  std::vector<std::string> keys;
  entry.each_selector([&keys](std::string_view type, std::string_view value) {
    keys.push_back(selector_key(type, value));
  });
  return keys;
}

// What make_shared and the heap add to a shared object with one string.
constexpr std::size_t kSharedOverhead = 16 + 16 + 16;

}  // namespace

// --- entries ---

bool IndexTables::find_slot(std::string_view entry_id, std::uint32_t& slot) const {
  return by_id_.find(SlotTable::hash_of(entry_id), [&](std::uint32_t candidate) {
    slot = candidate;
    return slots_[candidate].entry->id() == entry_id;
  });
}

IndexCounts IndexTables::counts() const {
  IndexCounts counts{.entries = size()};
  for (const auto& [path, number] : agent_numbers_) {
    counts.agents += agents_[number].attested ? 1 : 0;
  }
  for (const auto& [selector, use] : selectors_) {
    counts.aliases += use.aliases.size();
    counts.alias_selectors += use.aliases.empty() ? 0 : 1;
  }
  return counts;
}

IndexedEntryPtr IndexTables::find(std::string_view entry_id) const {
  std::uint32_t slot = 0;
  return find_slot(entry_id, slot) ? slots_[slot].entry : nullptr;
}

std::uint32_t IndexTables::take_slot(const IndexedEntryPtr& entry) {
  if (free_slots_.empty()) {
    slots_.push_back({entry, 0});
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }
  std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot].entry = entry;
  return slot;
}

void IndexTables::link(std::uint32_t slot) {
  const IndexedEntry& entry = *slots_[slot].entry;
  by_id_.insert(SlotTable::hash_of(entry.id()), slot);
  by_path_.insert(SlotTable::hash_of(entry.spiffe_path()), slot);
  std::string_view parent = entry.parent_path();
  auto at = children_.find(parent);
  if (at == children_.end()) {
    at = children_.emplace(std::string(parent), Children()).first;
  }
  slots_[slot].position = static_cast<std::uint32_t>(at->second.size());
  at->second.push_back(slot);
  if (parent == kServerPath) {
    link_alias(slot);
  }
  entry_bytes_ += entry.memory_bytes() + kSharedOverhead;
}

void IndexTables::unlink(std::uint32_t slot) {
  const IndexedEntry& entry = *slots_[slot].entry;
  std::string_view parent = entry.parent_path();
  if (parent == kServerPath) {
    unlink_alias(slot);
  }
  auto at = children_.find(parent);
  CHECK(at != children_.end());
  Children& siblings = at->second;
  std::uint32_t moved = siblings.back();
  siblings[slots_[slot].position] = moved;
  slots_[moved].position = slots_[slot].position;
  siblings.pop_back();
  if (siblings.empty()) {
    children_.erase(at);
  }
  by_id_.erase(SlotTable::hash_of(entry.id()), slot);
  by_path_.erase(SlotTable::hash_of(entry.spiffe_path()), slot);
  entry_bytes_ -= entry.memory_bytes() + kSharedOverhead;
}

// An alias stands under that one of its selectors that has the fewest aliases, so that a selector
// which all nodes share does not collect them all.
void IndexTables::link_alias(std::uint32_t slot) {
  SelectorUse* chosen = nullptr;
  for (const std::string& key : selector_keys(*slots_[slot].entry)) {
    SelectorUse& use = selectors_[key];
    if (chosen == nullptr || use.aliases.size() < chosen->aliases.size()) {
      chosen = &use;
    }
  }
  if (chosen != nullptr) {
    chosen->aliases.push_back(slot);
  }
}

void IndexTables::unlink_alias(std::uint32_t slot) {
  for (const std::string& key : selector_keys(*slots_[slot].entry)) {
    auto at = selectors_.find(key);
    if (at != selectors_.end()) {
      std::erase(at->second.aliases, slot);
      forget_selector(key);
    }
  }
}

void IndexTables::forget_selector(std::string_view key) {
  auto at = selectors_.find(key);
  if (at != selectors_.end() && at->second.agents.empty() && at->second.aliases.empty()) {
    selectors_.erase(at);
  }
}

bool IndexTables::put(const IndexedEntryPtr& entry, std::vector<AgentNumber>& concerned) {
  std::uint32_t slot = 0;
  if (find_slot(entry->id(), slot)) {
    if (slots_[slot].entry->wire() == entry->wire()) {
      return false;
    }
    concern(*slots_[slot].entry, concerned);
    unlink(slot);
    slots_[slot].entry = entry;
  } else {
    slot = take_slot(entry);
  }
  link(slot);
  concern(*entry, concerned);
  return true;
}

bool IndexTables::remove(std::string_view entry_id, std::vector<AgentNumber>& concerned) {
  std::uint32_t slot = 0;
  if (!find_slot(entry_id, slot)) {
    return false;
  }
  concern(*slots_[slot].entry, concerned);
  unlink(slot);
  slots_[slot].entry.reset();
  free_slots_.push_back(slot);
  return true;
}

// --- who may have what ---

bool IndexTables::matches(const IndexedEntry& alias, const Agent& agent) const {
  bool all = true;
  alias.each_selector([&](std::string_view type, std::string_view value) {
    if (!all) {
      return;
    }
    auto at = selectors_.find(selector_key(type, value));
    const void* node = at == selectors_.end() ? nullptr : &*at;
    all =
        node != nullptr && std::binary_search(agent.selectors.begin(), agent.selectors.end(), node);
  });
  return all;
}

template <class Visit>
bool IndexTables::each_alias(const Agent& agent, Visit visit) const {
  for (const void* node : agent.selectors) {
    const auto& use = static_cast<const decltype(selectors_)::value_type*>(node)->second;
    for (std::uint32_t slot : use.aliases) {
      const IndexedEntry& alias = *slots_[slot].entry;
      if (matches(alias, agent) && visit(alias)) {
        return true;
      }
    }
  }
  return false;
}

std::vector<IndexedEntryPtr> IndexTables::authorized(std::string_view agent_path) const {
  std::vector<IndexedEntryPtr> found;
  std::vector<std::string_view> parents{agent_path};
  if (auto at = agent_numbers_.find(agent_path); at != agent_numbers_.end()) {
    each_alias(agents_[at->second], [&parents](const IndexedEntry& alias) {
      parents.push_back(alias.spiffe_path());
      return false;
    });
  }
  std::unordered_set<const Children*> seen;
  while (!parents.empty()) {
    auto at = children_.find(parents.back());
    parents.pop_back();
    if (at == children_.end() || !seen.insert(&at->second).second) {
      continue;
    }
    for (std::uint32_t slot : at->second) {
      found.push_back(slots_[slot].entry);
      parents.push_back(slots_[slot].entry->spiffe_path());
    }
  }
  std::sort(found.begin(), found.end(),
            [](const IndexedEntryPtr& a, const IndexedEntryPtr& b) { return a->id() < b->id(); });
  return found;
}

bool IndexTables::is_authorized(std::string_view agent_path, const IndexedEntry& entry) const {
  auto number = agent_numbers_.find(agent_path);
  const Agent* agent = number == agent_numbers_.end() ? nullptr : &agents_[number->second];
  std::vector<std::string_view> above{entry.parent_path()};
  std::unordered_set<std::string_view> seen;
  while (!above.empty()) {
    std::string_view path = above.back();
    above.pop_back();
    if (path == agent_path) {
      return true;
    }
    if (!seen.insert(path).second) {
      continue;
    }
    bool through_alias = by_path_.find(SlotTable::hash_of(path), [&](std::uint32_t slot) {
      const IndexedEntry& parent = *slots_[slot].entry;
      if (parent.spiffe_path() != path) {
        return false;
      }
      above.push_back(parent.parent_path());
      return agent != nullptr && parent.parent_path() == kServerPath && matches(parent, *agent);
    });
    if (through_alias) {
      return true;
    }
  }
  return false;
}

void IndexTables::agents_of(std::string_view parent_path,
                            std::vector<AgentNumber>& concerned) const {
  std::vector<std::string_view> above{parent_path};
  std::unordered_set<std::string_view> seen;
  while (!above.empty()) {
    std::string_view path = above.back();
    above.pop_back();
    if (!seen.insert(path).second) {
      continue;
    }
    if (auto at = agent_numbers_.find(path); at != agent_numbers_.end()) {
      concerned.push_back(at->second);
    }
    by_path_.find(SlotTable::hash_of(path), [&](std::uint32_t slot) {
      const IndexedEntry& parent = *slots_[slot].entry;
      if (parent.spiffe_path() == path) {
        above.push_back(parent.parent_path());
        if (parent.parent_path() == kServerPath) {
          agents_of_alias(parent, concerned);
        }
      }
      return false;
    });
  }
}

void IndexTables::agents_of_alias(const IndexedEntry& alias,
                                  std::vector<AgentNumber>& concerned) const {
  const std::vector<AgentNumber>* fewest = nullptr;
  for (const std::string& key : selector_keys(alias)) {
    auto at = selectors_.find(key);
    if (at == selectors_.end()) {
      return;
    }
    if (fewest == nullptr || at->second.agents.size() < fewest->size()) {
      fewest = &at->second.agents;
    }
  }
  if (fewest == nullptr) {
    return;
  }
  for (AgentNumber number : *fewest) {
    if (matches(alias, agents_[number])) {
      concerned.push_back(number);
    }
  }
}

void IndexTables::concern(const IndexedEntry& entry, std::vector<AgentNumber>& concerned) const {
  agents_of(entry.parent_path(), concerned);
  if (entry.parent_path() == kServerPath) {
    agents_of_alias(entry, concerned);
  }
}

// --- agents ---

IndexTables::Agent* IndexTables::find_agent(std::string_view path) {
  auto at = agent_numbers_.find(path);
  return at == agent_numbers_.end() ? nullptr : &agents_[at->second];
}

IndexTables::AgentNumber IndexTables::agent_number(std::string_view path) {
  if (auto at = agent_numbers_.find(path); at != agent_numbers_.end()) {
    return at->second;
  }
  AgentNumber number = 0;
  if (free_agents_.empty()) {
    number = static_cast<AgentNumber>(agents_.size());
    agents_.emplace_back();
  } else {
    number = free_agents_.back();
    free_agents_.pop_back();
  }
  agents_[number].path = path;
  agent_numbers_.emplace(std::string(path), number);
  return number;
}

void IndexTables::forget_unused(AgentNumber number) {
  Agent& agent = agents_[number];
  if (agent.attested || !agent.subscribers.empty() || agent.path.empty()) {
    return;
  }
  agent_numbers_.erase(agent_numbers_.find(agent.path));
  agent = Agent();
  free_agents_.push_back(number);
}

bool IndexTables::put_agent(std::string_view path, const std::vector<Selector>& selectors,
                            std::vector<AgentNumber>& concerned) {
  AgentNumber number = agent_number(path);
  Agent& agent = agents_[number];
  std::vector<const void*> nodes;
  nodes.reserve(selectors.size());
  for (const Selector& selector : selectors) {
    nodes.push_back(&*selectors_.try_emplace(selector_key(selector.type, selector.value)).first);
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  if (agent.attested && nodes == agent.selectors) {
    return false;
  }
  auto node_of = [](const void* node) {
    // The nodes are those of selectors_, whose addresses are stable.
    return const_cast<decltype(selectors_)::value_type*>(
        static_cast<const decltype(selectors_)::value_type*>(node));
  };
  std::vector<const void*> old = std::exchange(agent.selectors, std::move(nodes));
  for (const void* node : agent.selectors) {
    if (!std::binary_search(old.begin(), old.end(), node)) {
      node_of(node)->second.agents.push_back(number);
    }
  }
  for (const void* node : old) {
    if (!std::binary_search(agent.selectors.begin(), agent.selectors.end(), node)) {
      std::erase(node_of(node)->second.agents, number);
      forget_selector(std::string(node_of(node)->first));
    }
  }
  agent.attested = true;
  concerned.push_back(number);
  return true;
}

bool IndexTables::remove_agent(std::string_view path, std::vector<AgentNumber>& concerned) {
  Agent* agent = find_agent(path);
  if (agent == nullptr || !agent->attested) {
    return false;
  }
  put_agent(path, {}, concerned);
  agent->attested = false;
  concerned.push_back(agent_number(path));
  return true;
}

std::size_t IndexTables::memory_bytes() const {
  std::size_t bytes =
      entry_bytes_ + slots_.size() * sizeof(Slot) + by_id_.memory_bytes() + by_path_.memory_bytes();
  for (const auto& [path, slots] : children_) {
    bytes += sizeof(path) + path.capacity() + sizeof(slots) +
             slots.capacity() * sizeof(std::uint32_t) + 32;
  }
  return bytes;
}

}  // namespace steeple::server
