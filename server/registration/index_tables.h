// SPDX-License-Identifier: Apache-2.0

// The tables of the entry index: entries by id, by parent and by SPIFFE ID; node aliases and agents
// by selector. No locks, no datastore: EntryIndex owns one inside a Guarded. All IDs are paths,
// since everything in it belongs to the server's own trust domain.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/base/guarded.h"
#include "server/registration/entry_index.h"
#include "server/registration/indexed_entry.h"
#include "server/registration/slot_table.h"

namespace steeple::server {

inline constexpr std::string_view kServerPath = "/spire/server";

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};
template <class T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

class IndexTables {
 public:
  using AgentNumber = std::uint32_t;

  // Someone who wants to hear of an agent's changes.
  struct Subscriber {
    Guarded<bool> alive{true};  // held during a call
    EntryIndex::Changed tell;
  };

  // Replaces or adds; `concerned` gets the agents that had or have it. False when nothing changed.
  bool put(const IndexedEntryPtr& entry, std::vector<AgentNumber>& concerned);
  bool remove(std::string_view entry_id, std::vector<AgentNumber>& concerned);
  // An attested agent and its selectors. False when nothing changed.
  bool put_agent(std::string_view path, const std::vector<Selector>& selectors,
                 std::vector<AgentNumber>& concerned);
  bool remove_agent(std::string_view path, std::vector<AgentNumber>& concerned);

  IndexedEntryPtr find(std::string_view entry_id) const;
  std::size_t size() const { return by_id_.size(); }
  IndexCounts counts() const;
  // All that an agent may have, sorted by id.
  std::vector<IndexedEntryPtr> authorized(std::string_view agent_path) const;
  bool is_authorized(std::string_view agent_path, const IndexedEntry& entry) const;
  void agents_of(std::string_view parent_path, std::vector<AgentNumber>& concerned) const;
  // Agents whose selectors contain these.
  void agents_of_alias(const IndexedEntry& alias, std::vector<AgentNumber>& concerned) const;

  // --- agents, attested or only subscribed to or asked for -----------------------------------
  struct Agent {
    std::string path;
    bool attested = false;
    std::uint64_t revision = 0;  // the last change that concerned it
    std::shared_ptr<const AuthorizedEntries> cached;
    std::vector<std::shared_ptr<Subscriber>> subscribers;
    std::vector<const void*> selectors;  // nodes of selectors_, sorted
  };
  Agent* find_agent(std::string_view path);
  AgentNumber agent_number(std::string_view path);  // makes it
  Agent& agent(AgentNumber number) { return agents_[number]; }
  const Agent& agent(AgentNumber number) const { return agents_[number]; }
  std::size_t agents() const { return agents_.size(); }
  // Forgets the record of an agent that is neither attested nor subscribed to.
  void forget_unused(AgentNumber number);

  std::size_t memory_bytes() const;

 private:
  struct Slot {
    IndexedEntryPtr entry;
    std::uint32_t position = 0;  // in its parent's children
  };
  using Children = std::vector<std::uint32_t>;
  struct SelectorUse {
    std::vector<AgentNumber> agents;
    std::vector<std::uint32_t> aliases;  // each alias stands under one of its selectors
  };

  std::uint32_t take_slot(const IndexedEntryPtr& entry);
  void link(std::uint32_t slot);
  void unlink(std::uint32_t slot);
  void link_alias(std::uint32_t slot);
  void unlink_alias(std::uint32_t slot);
  void concern(const IndexedEntry& entry, std::vector<AgentNumber>& concerned) const;
  bool find_slot(std::string_view entry_id, std::uint32_t& slot) const;
  bool matches(const IndexedEntry& alias, const Agent& agent) const;
  void forget_selector(std::string_view key);
  // Calls visit(alias entry) for each alias of the agent until it returns true.
  template <class Visit>
  bool each_alias(const Agent& agent, Visit visit) const;

  std::deque<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  SlotTable by_id_;
  SlotTable by_path_;  // the entry's own SPIFFE ID
  TextMap<Children> children_;
  TextMap<SelectorUse> selectors_;
  std::deque<Agent> agents_;
  std::vector<AgentNumber> free_agents_;
  TextMap<AgentNumber> agent_numbers_;
  std::size_t entry_bytes_ = 0;
};

}  // namespace steeple::server
