// SPDX-License-Identifier: Apache-2.0

// One run of SyncAuthorizedEntries (surface 5.8): revisions first when there are many entries, then
// only the full entries that are new or newer. Falls back to GetAuthorizedEntries on a server that
// has no such RPC. The result is the difference to what the agent knows. On the loop.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/cache/entry.h"
#include "agent/sync/server_api.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

using EntryMap = std::map<std::string, EntryPtr>;

// More revisions or entries than this in one sync end it with an error.
inline constexpr std::size_t kSyncEntriesMax = 2'000'000;

struct EntryDifference {
  std::vector<EntryPtr> added_or_changed;
  std::vector<std::string> removed_ids;
  std::size_t missing = 0;  // were not known
  std::size_t stale = 0;    // were known in another revision
};

class EntrySync {
 public:
  using Done = std::move_only_function<void(Result<EntryDifference>)>;

  // `known` must stay as it is until `done` ran or this is destroyed, which cancels.
  EntrySync(ServerApi& server, const EntryMap& known, bool use_sync_rpc, Logger log, Done done);
  ~EntrySync();
  EntrySync(const EntrySync&) = delete;
  EntrySync& operator=(const EntrySync&) = delete;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
