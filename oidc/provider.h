// SPDX-License-Identifier: Apache-2.0

// The provider as a component: a source of keys, the two pages on one listener, and the health
// pages on another. Lives on one loop.

#pragma once

#include <memory>
#include <vector>

#include "lib/base/random.h"
#include "lib/http/server.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"
#include "lib/tls/handshake.h"
#include "oidc/config/provider_config.h"
#include "oidc/documents.h"
#include "oidc/health.h"
#include "oidc/jwks_source/jwks_source.h"
#include "oidc/serving_identity.h"
#include "spiffe/workloadapi/client.h"

namespace steeple::oidc {

class Provider {
 public:
  // They outlive the provider; workers end before the loop does.
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    tls::Handshake& handshake;
    Random& random;
    std::shared_ptr<spiffe::Client> client;  // with workload_api only, else null
    Logger log;
  };

  Provider(ProviderConfig config, Deps deps);
  Provider(const Provider&) = delete;
  Provider& operator=(const Provider&) = delete;

  // An error: a certificate that does not load, or an address that is not free.
  Result<void> start();
  // Lets running requests end. `done` runs once, on the loop.
  void stop(io::Task done);

  // With real ports.
  std::vector<io::Endpoint> endpoints() const { return server_.endpoints(); }
  std::vector<io::Endpoint> health_endpoints() const { return health_server_.endpoints(); }

 private:
  std::unique_ptr<JwksSource> make_source();
  std::shared_ptr<ServingIdentity> make_identity();
  Result<void> listen();
  Result<void> listen_tls(const io::Endpoint& at);

  const ProviderConfig config_;
  const Deps deps_;
  const std::unique_ptr<JwksSource> source_;
  // Null without TLS. Shared with handshakes, which may end after us.
  const std::shared_ptr<ServingIdentity> identity_;
  Documents documents_;
  Health health_;
  http::Server server_, health_server_;  // last: their handlers use what is above
};

}  // namespace steeple::oidc
