// SPDX-License-Identifier: Apache-2.0

// Selectors as small numbers, counted by use, and the two subset indexes over them. Matching never
// scans all entries: an entry is filed under the selector that fewest others are filed under, so
// asking for a workload's entries looks at one short list per selector the workload has; asking
// which workloads an entry concerns looks at the shortest list among the entry's selectors.
// On the loop.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/workloadattestor/selector.h"

namespace steeple::agent {

using SelectorId = std::uint32_t;
using SelectorIds = std::vector<SelectorId>;  // sorted, no duplicates

class SelectorTable {
 public:
  // Counts one use of each; `release` gives them back.
  SelectorIds acquire(const std::vector<Selector>& selectors);
  void release(const SelectorIds& ids);
  std::size_t size() const { return ids_.size(); }

  // One text for a set of selectors, whatever their order: a key for maps.
  static std::string set_key(const std::vector<Selector>& selectors);

 private:
  struct Slot {
    SelectorId id = 0;
    std::uint32_t uses = 0;
  };
  static std::string key(const Selector& selector);

  std::unordered_map<std::string, Slot> ids_;
  std::unordered_map<SelectorId, std::string> names_;
  std::vector<SelectorId> free_;
  SelectorId next_ = 0;
};

// Items by their selectors; finds those whose selectors are all in a given set.
template <class Item>
class SubsetIndex {
 public:
  void add(Item item, const SelectorIds& ids);
  void remove(Item item, const SelectorIds& ids);
  // Calls `found(item)` for each item whose ids are a subset of `have`.
  template <class Found>
  void match(const SelectorIds& have, Found found) const;

 private:
  struct Filed {
    Item item;
    const SelectorIds* ids;  // the item's own, which it keeps
  };
  std::unordered_map<SelectorId, std::vector<Filed>> filed_;
};

// Items by their selectors; finds those whose selectors include all of a given set.
template <class Item>
class SupersetIndex {
 public:
  void add(Item item, const SelectorIds& ids);
  void remove(Item item, const SelectorIds& ids);
  template <class Found>
  void match(const SelectorIds& wanted, Found found) const;

 private:
  struct Filed {
    Item item;
    const SelectorIds* ids;
  };
  std::unordered_map<SelectorId, std::vector<Filed>> filed_;
};

inline bool is_subset(const SelectorIds& small, const SelectorIds& large) {
  std::size_t at = 0;
  for (SelectorId id : small) {
    while (at < large.size() && large[at] < id) {
      ++at;
    }
    if (at == large.size() || large[at] != id) {
      return false;
    }
  }
  return true;
}

template <class Item>
void SubsetIndex<Item>::add(Item item, const SelectorIds& ids) {
  SelectorId best = ids.front();
  std::size_t best_size = SIZE_MAX;
  for (SelectorId id : ids) {
    auto found = filed_.find(id);
    std::size_t size = found == filed_.end() ? 0 : found->second.size();
    if (size < best_size) {
      best = id;
      best_size = size;
    }
  }
  filed_[best].push_back({item, &ids});
}

template <class Item>
void SubsetIndex<Item>::remove(Item item, const SelectorIds& ids) {
  for (SelectorId id : ids) {
    auto found = filed_.find(id);
    if (found == filed_.end()) {
      continue;
    }
    auto& list = found->second;
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i].item == item) {
        list[i] = list.back();
        list.pop_back();
        if (list.empty()) {
          filed_.erase(found);
        }
        return;
      }
    }
  }
}

template <class Item>
template <class Found>
void SubsetIndex<Item>::match(const SelectorIds& have, Found found) const {
  for (SelectorId id : have) {
    auto list = filed_.find(id);
    if (list == filed_.end()) {
      continue;
    }
    for (const Filed& filed : list->second) {
      if (is_subset(*filed.ids, have)) {
        found(filed.item);
      }
    }
  }
}

template <class Item>
void SupersetIndex<Item>::add(Item item, const SelectorIds& ids) {
  for (SelectorId id : ids) {
    filed_[id].push_back({item, &ids});
  }
}

template <class Item>
void SupersetIndex<Item>::remove(Item item, const SelectorIds& ids) {
  for (SelectorId id : ids) {
    auto found = filed_.find(id);
    if (found == filed_.end()) {
      continue;
    }
    auto& list = found->second;
    std::erase_if(list, [item](const Filed& filed) { return filed.item == item; });
    if (list.empty()) {
      filed_.erase(found);
    }
  }
}

template <class Item>
template <class Found>
void SupersetIndex<Item>::match(const SelectorIds& wanted, Found found) const {
  const std::vector<Filed>* shortest = nullptr;
  for (SelectorId id : wanted) {
    auto list = filed_.find(id);
    if (list == filed_.end()) {
      return;
    }
    if (shortest == nullptr || list->second.size() < shortest->size()) {
      shortest = &list->second;
    }
  }
  if (shortest == nullptr) {
    return;
  }
  for (const Filed& filed : *shortest) {
    if (is_subset(wanted, *filed.ids)) {
      found(filed.item);
    }
  }
}

}  // namespace steeple::agent
