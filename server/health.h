// SPDX-License-Identifier: Apache-2.0

// What the server's health checks ask, with the reference's names and details: `server` (the bundle
// is there), `server.ca` (signs a throw-away SVID), `server.ca.rotator`, `catalog.datastore` (reads
// the bundles). Those that block run on workers.

#pragma once

#include "lib/io/workers.h"
#include "lib/telemetry/health.h"
#include "server/api/bundle_cache.h"
#include "server/ca/authority_keeper.h"
#include "server/ca/ca.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

struct HealthDeps {
  io::Loop& loop;
  io::Workers& workers;
  const BundleCache& bundles;
  const Ca& ca;
  const AuthorityKeeper& authorities;
  Datastore& datastore;
};

// `slow`: also the checks that need a worker.
Result<void> add_health_checks(HealthChecks& checks, const HealthDeps& deps, bool slow);

}  // namespace steeple::server
