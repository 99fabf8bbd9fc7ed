// SPDX-License-Identifier: Apache-2.0

#include "agent/cache/entry.h"

#include <string_view>
#include <unordered_map>

namespace steeple::agent {
namespace {

bool older(const Entry& a, const Entry& b) {
  return a.created_at != b.created_at ? a.created_at < b.created_at : a.id < b.id;
}

}  // namespace

std::vector<EntryPtr> without_duplicate_hints(const std::vector<EntryPtr>& entries,
                                              std::vector<EntryPtr>* dropped) {
  std::unordered_map<std::string_view, const Entry*> keeper;
  for (const EntryPtr& entry : entries) {
    if (entry->hint.empty()) {
      continue;
    }
    auto [slot, added] = keeper.try_emplace(entry->hint, entry.get());
    if (!added && older(*entry, *slot->second)) {
      slot->second = entry.get();
    }
  }
  std::vector<EntryPtr> out;
  out.reserve(entries.size());
  for (const EntryPtr& entry : entries) {
    if (entry->hint.empty() || keeper.at(entry->hint) == entry.get()) {
      out.push_back(entry);
    } else if (dropped != nullptr) {
      dropped->push_back(entry);
    }
  }
  return out;
}

}  // namespace steeple::agent
