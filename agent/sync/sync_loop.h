// SPDX-License-Identifier: Apache-2.0

// Step 5 of the flow: keeps the caches equal to what the server says. A state machine on the loop:
//  - the push stream (steeple.server.push.v1) says when something changed, and a sync follows at
//    once; a server without it is polled every sync_interval, as SPIRE's agents do;
//  - a sync is entries (entry_sync.h), then bundles, then both into the cache;
//  - wishes of the cache become BatchNewX509SVID calls at once (svid_requests.h);
//  - errors back off: x1.5, 10 % jitter, up to min(8 min, 48 intervals).
// Denials go to NodeIdentity; after each new identity everything starts afresh.

#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "agent/cache/jwt_cache.h"
#include "agent/cache/x509_cache.h"
#include "agent/nodeattestor/node_identity.h"
#include "lib/base/random.h"
#include "lib/crypto/key_type.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace steeple::agent {

inline constexpr auto kSyncBackoffMax = std::chrono::minutes(8);

class SyncLoop {
 public:
  struct Options {
    spiffe::TrustDomain trust_domain;
    Duration sync_interval = std::chrono::seconds(5);
    // While the push stream lives, a full sync still happens this often (20 % jitter).
    Duration safety_interval = std::chrono::minutes(5);
    bool use_sync_rpc = true;
    bool use_push = true;  // false: poll only
    crypto::KeyType workload_key_type = crypto::KeyType::kEcP256;
    RotationPolicy rotation = {};
    std::string version;  // told to the server by PostStatus
  };
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    Random& random;
    NodeIdentity& identity;
    X509Cache& cache;
    JwtCache& tokens;
    Logger log;
    Metrics& metrics;
  };

  SyncLoop(Options options, Deps deps);
  ~SyncLoop();
  SyncLoop(const SyncLoop&) = delete;
  SyncLoop& operator=(const SyncLoop&) = delete;

  // `ready` runs after the first complete sync, however long that takes.
  void start(std::function<void()> ready);
  // The cache has wishes (X509Cache::Deps::wished).
  void wished();
  // Of the last complete sync.
  std::optional<WallTime> last_sync() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
