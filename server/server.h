// SPDX-License-Identifier: Apache-2.0

// The server: puts the parts together and keeps them running. Everything it touches of the world
// comes in through Deps, so that a whole server also runs on a simulated loop, network and store.
//
// Threads: start, stop and destruction on the loop (or while it does not run). Blocking work is
// done on workers, but for the first steps of `start`, which block: nothing is served before the
// CA, the bundle and the index are there.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/limits.h"
#include "lib/base/random.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/keymanager/keymanager.h"
#include "lib/kube/lazy_client.h"
#include "lib/sql/database.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics_registry.h"
#include "lib/tls/handshake.h"
#include "server/ca/authority_keeper.h"
#include "server/ca/server_svid.h"
#include "server/config/config.h"

namespace steeple::server {

// What outlives a run of the server: its database and its keys.
struct Stores {
  std::shared_ptr<sql::Database> database;
  std::shared_ptr<keymanager::KeyManager> keys;
  bool disable_migration = false;
};
// Opens what the plugins{} section names. Blocks.
Result<Stores> open_stores(const ServerConfig& config);
// Every mistake and every unbuilt plugin of the section, without touching files.
Result<void> check_plugins(const ServerConfig& config);

// How often the server turns to what no event announces. Simulations of weeks stretch it.
struct Pace {
  Duration connection_age_max = limits::kConnectionAgeMax;  // of the TCP endpoint
  Duration authority_tick = AuthorityKeeper::kTickInterval;
  Duration svid_tick = ServerSvid::kTickInterval;
  // Unset: what the configuration says; Duration::max(): never.
  std::optional<Duration> foreign_changes = {};
  bool slow_health_checks = true;
};

class Server {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    tls::Handshake& handshake;
    Clock& clock;
    Random& random;
    Logger log;
    MetricsRegistry* metrics = nullptr;  // null: none
    // How Kubernetes is reached. Unset (simulations): plugins that need it are refused.
    std::optional<kube::LazyClientDeps> kube = {};
    Pace pace = {};
  };

  // Opens, checks and listens. An error says what failed; nothing keeps running then.
  static Result<std::unique_ptr<Server>> start(ServerConfig config, Stores stores, Deps deps);
  class Parts;
  explicit Server(std::unique_ptr<Parts> parts);  // for `start`
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Lets calls under way end, for at most limits::kGracefulStop, then `done`.
  void stop(io::Task done);

  // Where the TCP endpoint listens (the real port when 0 was configured).
  io::Endpoint endpoint() const;

 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace steeple::server
