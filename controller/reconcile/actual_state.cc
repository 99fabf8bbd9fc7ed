// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/actual_state.h"

#include <utility>

namespace steeple::controller {

bool ActualState::manages(const std::string& id) const {
  return options_.prefix.empty() || id.starts_with(options_.prefix);
}

bool ActualState::is_cleanup(const std::string& id) const {
  if (manages(id) || !options_.cleanup) {
    return false;
  }
  // "" means: all that have no prefix at all.
  return options_.cleanup->empty() ? !id.contains('.') : id.starts_with(*options_.cleanup);
}

void ActualState::unlink(const ActualEntry& entry) {
  auto [from, to] = by_key_.equal_range(entry.key);
  for (auto it = from; it != to; ++it) {
    if (it->second == &entry) {
      by_key_.erase(it);
      return;
    }
  }
}

ActualEntry& ActualState::store(const Entry& entry) {
  EntryKey key = entry_key(entry);
  auto [at, fresh] = by_id_.try_emplace(entry.id());
  ActualEntry& known = at->second;
  if (!fresh && known.key != key) {
    unlink(known);
  }
  if (fresh || known.key != key) {
    known.key = key;
    by_key_.emplace(key, &known);
  }
  if (fresh) {
    known.id = entry.id();
    known.ours = !options_.prefix.empty() && manages(entry.id());
    known.cleanup = is_cleanup(entry.id());
  }
  known.ours = known.ours || is_for_pod(entry);
  known.alias = is_join_token_alias(entry);
  known.spiffe_id = spiffe_id_text(entry.spiffe_id());
  return known;
}

void ActualState::list_began() {
  listing_ = true;
  ignored_now_ = 0;
  seen_.clear();
  written_.clear();
}

std::optional<EntryKey> ActualState::listed(const Entry& entry) {
  const std::string& id = entry.id();
  if (!manages(id) && !is_cleanup(id)) {
    ++ignored_now_;
    return {};
  }
  if (written_.contains(id)) {
    return {};
  }
  seen_.insert(id);
  ContentDigest content = entry_content(entry);
  const ActualEntry* before = find(id);
  if (before != nullptr && before->key == entry_key(entry) && before->content == content) {
    return {};
  }
  std::optional<EntryKey> old_key;
  if (before != nullptr) {
    old_key = before->key;
  }
  ActualEntry& known = store(entry);
  known.content = content;
  known.accepted = content;
  // An id whose key changed cannot be: a server never does that. Should it, the next list heals.
  return old_key.value_or(known.key);
}

std::vector<EntryKey> ActualState::list_ended() {
  std::vector<EntryKey> gone;
  for (auto it = by_id_.begin(); it != by_id_.end();) {
    if (seen_.contains(it->first) || written_.contains(it->first)) {
      ++it;
      continue;
    }
    gone.push_back(it->second.key);
    unlink(it->second);
    it = by_id_.erase(it);
  }
  ignored_ = ignored_now_;
  listing_ = false;
  seen_ = {};
  written_ = {};
  return gone;
}

void ActualState::put(const Entry& entry, const ContentDigest& accepted, bool created_by_us) {
  if (listing_) {
    written_.insert(entry.id());
  }
  ActualEntry& known = store(entry);
  known.content = entry_content(entry);
  known.accepted = accepted;
  known.ours = known.ours || created_by_us;
}

void ActualState::remove(const std::string& id) {
  if (listing_) {
    written_.insert(id);
  }
  auto found = by_id_.find(id);
  if (found != by_id_.end()) {
    unlink(found->second);
    by_id_.erase(found);
  }
}

std::vector<const ActualEntry*> ActualState::of(const EntryKey& key) const {
  std::vector<const ActualEntry*> out;
  auto [from, to] = by_key_.equal_range(key);
  for (auto it = from; it != to; ++it) {
    if (!it->second->cleanup) {
      out.push_back(it->second);
    }
  }
  return out;
}

const ActualEntry* ActualState::find(const std::string& id) const {
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

void ActualState::for_each(const std::function<void(const ActualEntry&)>& visit) const {
  for (const auto& [id, entry] : by_id_) {
    visit(entry);
  }
}

}  // namespace steeple::controller
