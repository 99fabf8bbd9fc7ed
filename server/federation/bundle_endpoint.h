// SPDX-License-Identifier: Apache-2.0

// The SPIFFE bundle endpoint (SPIFFE Federation, section 5.2): GET / and GET /bundle answer with
// the trust domain's bundle document. Authenticated by the server's own SVID (profile https_spiffe,
// section 5.2.2). The document is written once per bundle, not per request. On the loop.

#pragma once

#include <functional>
#include <memory>

#include "lib/base/result.h"
#include "lib/http/server.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/jose/bundle.h"
#include "lib/telemetry/log.h"
#include "lib/tls/handshake.h"
#include "server/config/config.h"

namespace steeple::server {

class BundleEndpoint {
 public:
  struct Deps {
    io::Loop& loop;
    io::Network& network;
    tls::Handshake& handshake;
    Logger log;
    std::function<std::shared_ptr<const tls::Identity>()> identity;
    // Null while there is no bundle: 500.
    std::function<std::shared_ptr<const jose::Bundle>()> bundle;
  };

  static Result<std::unique_ptr<BundleEndpoint>> start(const BundleEndpointConfig& config,
                                                       Deps deps);
  BundleEndpoint(Duration refresh_hint, Deps deps);  // for `start`
  BundleEndpoint(const BundleEndpoint&) = delete;
  BundleEndpoint& operator=(const BundleEndpoint&) = delete;

  io::Endpoint endpoint() const { return server_.endpoints().front(); }

 private:
  http::Response answer();

  Duration refresh_hint_;
  Deps deps_;
  std::shared_ptr<const jose::Bundle> written_;  // what `document_` says
  Bytes document_;
  http::Server server_;
};

}  // namespace steeple::server
