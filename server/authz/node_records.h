// SPDX-License-Identifier: Apache-2.0

// The records of the agents that call, in memory: every call of an agent is checked against its
// record, and the database would be asked the same thing thousands of times a second. A record is
// used as long as the database's stamp says that nothing was committed since it was read, by this
// process or another one: who was banned, evicted or renewed is seen as such by the next call.
//
// Where there are no stamps a record is read at each call, unless max_attested_node_info_staleness
// allows an older one; that one can only confirm its serial number. Any thread; `get` may block.

#pragma once

#include <memory>
#include <optional>
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
  NodeRecords(Datastore& datastore, Clock& clock, Duration staleness_max)
      : datastore_(datastore), clock_(clock), staleness_max_(staleness_max) {}
  NodeRecords(const NodeRecords&) = delete;
  NodeRecords& operator=(const NodeRecords&) = delete;

  // For a caller with an SVID of this serial number. Null: there is no such agent. Without its
  // selectors.
  Result<AttestedNodePtr> get(const spiffe::SpiffeId& id, std::string_view serial);

 private:
  struct Record {
    AttestedNodePtr node;
    std::optional<sql::Stamp> stamp;  // from before it was read
    SteadyTime read;
  };

  AttestedNodePtr find(const spiffe::SpiffeId& id, std::string_view serial,
                       const std::optional<sql::Stamp>& stamp, SteadyTime now);

  Datastore& datastore_;
  Clock& clock_;
  const Duration staleness_max_;
  Guarded<std::unordered_map<std::string, Record>> records_;
};

}  // namespace steeple::server
