// SPDX-License-Identifier: Apache-2.0

// What stands in SPIRE, as far as we know: loaded once, then kept by the answers to our own writes,
// and set right by the next full list. During a list, what was written meanwhile counts more than
// what the list says. No input or output; on the loop.

#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "controller/reconcile/entry.h"

namespace steeple::controller {

struct ActualEntry {
  EntryKey key = {};
  ContentDigest content = {};   // as the server told it last
  ContentDigest accepted = {};  // what we asked for when it told so
  std::string id = {};
  std::string spiffe_id = {};
  bool alias = false;    // of a join token
  bool ours = false;     // made by this program, here or before a restart
  bool cleanup = false;  // of the prefix that shall go
};

class ActualState {
 public:
  struct Options {
    std::string prefix = {};                  // with its dot; empty: all entries are managed
    std::optional<std::string> cleanup = {};  // entries of this prefix are to be deleted
  };

  explicit ActualState(Options options) : options_(std::move(options)) {}

  // --- a full list ---
  void list_began();
  // The key whose state changed, if any.
  std::optional<EntryKey> listed(const Entry& entry);
  // Keys of entries that are gone.
  std::vector<EntryKey> list_ended();
  bool listing() const { return listing_; }

  // --- answers to writes ---
  // As the server has it now, after we asked for `accepted`.
  void put(const Entry& entry, const ContentDigest& accepted, bool created_by_us);
  void remove(const std::string& id);

  // Entries that we manage, of this key.
  std::vector<const ActualEntry*> of(const EntryKey& key) const;
  const ActualEntry* find(const std::string& id) const;
  bool manages(const std::string& id) const;
  // All entries of the server, those we do not manage included.
  std::size_t total() const { return by_id_.size() + ignored_; }
  std::size_t managed() const { return by_id_.size(); }
  void for_each(const std::function<void(const ActualEntry&)>& visit) const;

 private:
  bool is_cleanup(const std::string& id) const;
  ActualEntry& store(const Entry& entry);
  void unlink(const ActualEntry& entry);

  const Options options_;
  std::unordered_map<std::string, ActualEntry> by_id_;
  std::unordered_multimap<EntryKey, const ActualEntry*> by_key_;
  std::size_t ignored_ = 0;
  bool listing_ = false;
  std::size_t ignored_now_ = 0;              // of the list under way
  std::unordered_set<std::string> seen_;     // by it
  std::unordered_set<std::string> written_;  // by us, during it
};

}  // namespace steeple::controller
