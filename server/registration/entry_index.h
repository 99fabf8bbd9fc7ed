// SPDX-License-Identifier: Apache-2.0

// EntryIndex (DESIGN section 4): every registration entry and every attested node's selectors in
// memory, changed by events and never rebuilt on a timer. It answers which entries an agent may
// have, and which agents a change concerns, without a scan.
//
// An agent may have all descendants of its own SPIFFE ID (entries whose parent is that ID, and
// again those whose parent is such an entry's SPIFFE ID), and all descendants of its node aliases:
// entries with parent spiffe://<td>/spire/server whose selectors are a subset of the agent's.
// The alias entry itself is not handed out, unless it is a descendant in its own right.
//
// Threads: all calls are thread safe. Readers take a lock for as long as a lookup lasts; answers
// are shared snapshots. Changes are applied one batch at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "server/datastore/datastore.h"
#include "server/registration/indexed_entry.h"

namespace steeple::server {

// What an agent may have at one moment, sorted by entry id.
struct AuthorizedEntries {
  std::uint64_t revision = 0;  // the last change that concerned this agent, as known here
  std::vector<IndexedEntryPtr> entries;

  const IndexedEntry* find(std::string_view entry_id) const;
};

// What the index holds, for the metrics.
struct IndexCounts {
  std::size_t entries = 0;
  std::size_t agents = 0;           // attested
  std::size_t aliases = 0;          // entries below the server's own ID
  std::size_t alias_selectors = 0;  // selectors that lead to an alias
};

class EntryIndex {
 public:
  struct Deps {
    Datastore& datastore;
    // Told of rows that cannot be read; they are left out of the index. May be empty.
    std::function<void(const Error&)> bad_row = {};
  };
  // `domain` is the server's own. Nothing is loaded yet. Subscribes to the datastore.
  EntryIndex(const spiffe::TrustDomain& domain, Deps deps);
  ~EntryIndex();
  EntryIndex(const EntryIndex&) = delete;
  EntryIndex& operator=(const EntryIndex&) = delete;

  // Reads everything anew. At start, and whenever the event tables cannot be followed.
  Result<void> load();
  // Re-reads what `batch` names. The datastore's changes arrive here by themselves. What cannot be
  // read is kept and read with the next batch, which may be empty.
  Result<void> apply(const ChangeBatch& batch);

  // Never null. Cached per agent until a change concerns it. Keep the pointer in a variable: a
  // range-for over `authorized_entries(id)->entries` would outlive it.
  std::shared_ptr<const AuthorizedEntries> authorized_entries(std::string_view agent_id) const;
  // The entry if it exists and the agent may have it.
  IndexedEntryPtr authorized_entry(std::string_view agent_id, std::string_view entry_id) const;
  IndexedEntryPtr find(std::string_view entry_id) const;
  std::size_t entries() const;
  IndexCounts counts() const;

  // Counts changes, from 1 after load.
  std::uint64_t revision() const;

  // Tells `changed(revision)` after each change that concerns this agent: its entries, its node
  // record, or any bundle. Runs on the changing thread: hand the news on, e.g. with Loop::post.
  // Once the subscription is dead no call is under way; it must not die inside its own call.
  class [[nodiscard]] Subscription {
   public:
    virtual ~Subscription() = default;
  };
  using Changed = std::function<void(std::uint64_t revision)>;
  std::unique_ptr<Subscription> subscribe(std::string_view agent_id, Changed changed);

  // The known agents (attested or subscribed to) that a change of this entry concerns: those above
  // it by parent or alias. For diagnosis and tests.
  std::vector<std::string> agents_concerned(const Entry& entry) const;

  // Approximate bytes held for entries, for the status page and the benchmark.
  std::size_t memory_bytes() const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace steeple::server
