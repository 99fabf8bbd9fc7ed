// SPDX-License-Identifier: Apache-2.0

// Step 7 of the flow: decides for each call whether its caller is of a class that the policy table
// names. Identity comes from the connection alone; that the agent is still attested, the admin
// still admin, is checked anew at each call. Everything that is not allowed is denied.
// Calls may block (datastore); any worker thread.

#pragma once

#include <memory>
#include <set>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/telemetry/log.h"
#include "server/authz/caller.h"
#include "server/authz/node_records.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

class Authorizer {
 public:
  struct Deps {
    Datastore& datastore;
    Clock& clock;
    Random& random;
    Logger log;
  };
  struct Options {
    std::vector<spiffe::SpiffeId> admin_ids;
    // max_attested_node_info_staleness; see NodeRecords.
    Duration node_staleness_max{0};
    bool audit_log = false;
  };

  Authorizer(Deps deps, Options options);

  // kPermissionDenied "authorization denied for method M", with PermissionDeniedDetails when an
  // agent was refused for a reason that it can act on.
  Result<std::shared_ptr<Caller>> authorize(const std::string& method,
                                            std::shared_ptr<const io::Peer> peer);

 private:
  Result<bool> is_allowed(CallerClasses classes, Caller& caller);
  Result<bool> by_entries(CallerClasses classes, Caller& caller);
  Result<void> check_agent(Caller& caller);
  Result<void> check_node(Caller& caller, const AttestedNodePtr& node);

  Deps deps_;
  Options options_;
  std::set<spiffe::SpiffeId> admin_ids_;
  NodeRecords nodes_;
};

}  // namespace steeple::server
