// SPDX-License-Identifier: Apache-2.0

#include "agent/cache/selector_table.h"

#include <algorithm>

#include "lib/base/check.h"

namespace steeple::agent {

std::string SelectorTable::key(const Selector& selector) {
  std::string out;
  out.reserve(selector.type.size() + 1 + selector.value.size());
  out += selector.type;
  out += ':';  // a type holds no ':', so the first one ends it
  out += selector.value;
  return out;
}

SelectorIds SelectorTable::acquire(const std::vector<Selector>& selectors) {
  SelectorIds out;
  out.reserve(selectors.size());
  for (const Selector& selector : selectors) {
    auto [slot, added] = ids_.try_emplace(key(selector));
    if (added) {
      if (free_.empty()) {
        slot->second.id = next_++;
      } else {
        slot->second.id = free_.back();
        free_.pop_back();
      }
      names_.emplace(slot->second.id, slot->first);
    }
    if (std::find(out.begin(), out.end(), slot->second.id) == out.end()) {
      ++slot->second.uses;
      out.push_back(slot->second.id);
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

void SelectorTable::release(const SelectorIds& ids) {
  for (SelectorId id : ids) {
    auto name = names_.find(id);
    CHECK(name != names_.end());
    auto slot = ids_.find(name->second);
    if (--slot->second.uses == 0) {
      ids_.erase(slot);
      names_.erase(name);
      free_.push_back(id);
    }
  }
}

std::string SelectorTable::set_key(const std::vector<Selector>& selectors) {
  std::vector<const Selector*> sorted;
  sorted.reserve(selectors.size());
  for (const Selector& selector : selectors) {
    sorted.push_back(&selector);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const Selector* a, const Selector* b) { return *a < *b; });
  std::string out;
  const Selector* previous = nullptr;
  for (const Selector* selector : sorted) {
    if (previous != nullptr && *previous == *selector) {
      continue;
    }
    previous = selector;
    // Lengths make it unambiguous whatever the values hold.
    out += std::to_string(selector->type.size());
    out += ',';
    out += std::to_string(selector->value.size());
    out += ':';
    out += selector->type;
    out += selector->value;
  }
  return out;
}

}  // namespace steeple::agent
