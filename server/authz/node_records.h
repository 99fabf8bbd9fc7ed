// SPDX-License-Identifier: Apache-2.0

// The records of the agents that call, in memory: every call of an agent is checked against its
// record, and a database would be asked the same thing thousands of times a second. A record is
// dropped in the transaction's wake, before the call that changed it is answered: who was banned,
// evicted or renewed is seen as such by the next call. Any thread; `get` may block.
//
// That holds as long as the datastore tells every change (Datastore::tells_all_changes). When other
// servers write to the same database a record is used for `staleness_max` only, by default never.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "lib/base/clock.h"
#include "lib/base/guarded.h"
#include "lib/base/result.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

using AttestedNodePtr = std::shared_ptr<const AttestedNode>;

class NodeRecords {
 public:
  NodeRecords(Datastore& datastore, Clock& clock, Duration staleness_max);
  NodeRecords(const NodeRecords&) = delete;
  NodeRecords& operator=(const NodeRecords&) = delete;

  // Null: there is no such agent. Without its selectors.
  Result<AttestedNodePtr> get(const spiffe::SpiffeId& id);
  std::size_t held() { return shared_.lock()->records.size(); }

 private:
  struct Record {
    AttestedNodePtr node;
    SteadyTime read;
  };
  struct Shared {
    std::unordered_map<std::string, Record> records;
    // Counts what was told. What was read before a change must not be kept after it.
    std::uint64_t changes = 0;
  };

  void changed(const ChangeBatch& batch);

  Datastore& datastore_;
  Clock& clock_;
  const bool told_;
  const Duration staleness_max_;
  Guarded<Shared> shared_;
  std::unique_ptr<Datastore::Subscription> subscription_;  // last: no call after it has gone
};

}  // namespace steeple::server
