// SPDX-License-Identifier: Apache-2.0

// Turns the X.509 cache's wishes into BatchNewX509SVID calls: keys and CSRs are made on a worker,
// the answer is checked (our key, our SPIFFE ID) before it goes into the cache. One call at a time;
// a batch holds at most 500, half of it after a failure and twice as many after a success. Failures
// back off from 500 ms to 4 min, but never beyond 5 s while a workload waits. On the loop.

#pragma once

#include <functional>
#include <memory>

#include "agent/cache/x509_cache.h"
#include "agent/config/rotation.h"
#include "agent/sync/server_api.h"
#include "lib/base/random.h"
#include "lib/crypto/key_type.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace steeple::agent {

inline constexpr std::size_t kSvidBatchMax = 500;
inline constexpr auto kSvidBackoffFirst = std::chrono::milliseconds(500);
inline constexpr auto kSvidBackoffMax = std::chrono::minutes(4);
inline constexpr auto kSvidBackoffAwaitedMax = std::chrono::seconds(5);

class SvidRequests {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    Random& random;
    ServerApi& server;
    X509Cache& cache;
    Logger log;
    Metrics& metrics;
    // Tells denials to whoever deals with them.
    std::function<void(const Error&)> failed;
  };
  SvidRequests(crypto::KeyType key_type, RotationPolicy rotation, Deps deps);
  ~SvidRequests();
  SvidRequests(const SvidRequests&) = delete;
  SvidRequests& operator=(const SvidRequests&) = delete;

  // The cache may have wishes. Cheap; works later, in a task of its own.
  void look();
  // The server is there again (a sync worked): forget the backoff.
  void server_is_back();

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
