// SPDX-License-Identifier: Apache-2.0

// Step 6 of the flow: the services of the server, one file each. A register function hangs one
// service onto an endpoint (TCP or the admin socket); who may call what is the policy table's.
// Everything in ServiceDeps outlives the endpoints.

#pragma once

#include <functional>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/base/watch.h"
#include "lib/telemetry/log.h"
#include "server/api/bundle_cache.h"
#include "server/api/endpoint.h"
#include "server/authz/authorizer.h"
#include "server/authz/rate_limiter.h"
#include "server/ca/authority_keeper.h"
#include "server/ca/ca.h"
#include "server/ca/server_svid.h"
#include "server/datastore/datastore.h"
#include "server/nodeattestor/catalog.h"
#include "server/registration/entry_index.h"

namespace steeple::server {

// Null pointers switch a limit off. Shared by all TCP connections.
struct RateLimits {
  RateLimiter* attestation = nullptr;
  RateLimiter* signing_x509 = nullptr;
  RateLimiter* signing_jwt = nullptr;
  RateLimiter* publish_key = nullptr;
  RateLimiter* post_status = nullptr;
};

struct ServiceDeps {
  spiffe::TrustDomain trust_domain;
  Clock& clock;
  Random& random;
  Datastore& datastore;
  EntryIndex& index;
  Ca& ca;
  AuthorityKeeper& authorities;
  const ServerSvid& server_svid;
  const NodeAttestors& attestors;
  Authorizer& authorizer;
  BundleCache& bundles;
  RateLimits limits;
  Logger log;
  SteadyTime started;
  bool agent_spiffe_id_as_selector = false;
  // Published once, when the server begins to drain: streams without end then end.
  std::shared_ptr<const Watch<bool>> draining = std::make_shared<const Watch<bool>>();
};

// On both endpoints.
void register_agent_service(Endpoint& endpoint, const ServiceDeps& deps);
void register_bundle_service(Endpoint& endpoint, const ServiceDeps& deps);
void register_entry_service(Endpoint& endpoint, const ServiceDeps& deps);
void register_svid_service(Endpoint& endpoint, const ServiceDeps& deps);
void register_push_service(Endpoint& endpoint, const ServiceDeps& deps);
// Services that are not built: every method answers UNIMPLEMENTED and says so.
void register_unbuilt_services(Endpoint& endpoint);

// On the admin socket only.
void register_debug_service(Endpoint& endpoint, const ServiceDeps& deps);
void register_logger_service(Endpoint& endpoint, const ServiceDeps& deps);

// Parts of services that are files of their own.
void register_attest_agent(Endpoint& endpoint, const ServiceDeps& deps);
void register_sync_entries(Endpoint& endpoint, const ServiceDeps& deps);

}  // namespace steeple::server
