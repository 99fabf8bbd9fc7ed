// SPDX-License-Identifier: Apache-2.0

// JWT-SVIDs for workloads: from the cache while fresh; else from the server, one call for all who
// wait for the same token. When the server fails, a cached token that still lives is the answer.
// On the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/cache/entry.h"
#include "agent/cache/jwt_cache.h"
#include "agent/nodeattestor/node_identity.h"
#include "lib/base/random.h"
#include "lib/io/loop.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

inline constexpr std::size_t kJwtCallsMax = 1000;  // under way at once
inline constexpr std::size_t kJwtAudienceMax = 64;

class JwtFetch {
 public:
  struct Deps {
    io::Loop& loop;
    Random& random;
    NodeIdentity& identity;
    JwtCache& cache;
    Logger log;
  };
  // `cache_hit_timeout`: how long the server is waited for when a cached token still lives.
  JwtFetch(Duration cache_hit_timeout, Deps deps);
  ~JwtFetch();
  JwtFetch(const JwtFetch&) = delete;
  JwtFetch& operator=(const JwtFetch&) = delete;

  using Reply = std::move_only_function<void(Result<JwtSvidPtr>)>;
  // May answer inside the call. Errors are worded as the reference's ("failed to fetch JWT SVID").
  void fetch(const EntryPtr& entry, const std::vector<std::string>& audience, Reply reply);

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
