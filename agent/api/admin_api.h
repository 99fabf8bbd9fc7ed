// SPDX-License-Identifier: Apache-2.0

// The admin socket (0770): Debug.GetInfo and Logger. Delegated Identity is not built; its calls
// are answered with UNIMPLEMENTED. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "agent/cache/jwt_cache.h"
#include "agent/cache/x509_cache.h"
#include "agent/nodeattestor/node_identity.h"
#include "lib/base/clock.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

inline constexpr auto kDebugInfoAge = std::chrono::seconds(5);

class AdminApi {
 public:
  struct Deps {
    Clock& clock;
    NodeIdentity& identity;
    X509Cache& cache;
    JwtCache& tokens;
    std::function<std::optional<WallTime>()> last_sync;
    Logger log;
  };
  explicit AdminApi(Deps deps);
  ~AdminApi();
  AdminApi(const AdminApi&) = delete;
  AdminApi& operator=(const AdminApi&) = delete;

  // Before the first connection. The server must be gone before this is destroyed.
  void add_to(rpc::Server& server);

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
