// SPDX-License-Identifier: Apache-2.0

// The server's own SVID, spiffe://<td>/spire/server, for its TLS endpoint. The key lives in memory
// only. Renewed at half of its life, and at once when a root that it chains to is tainted; a failed
// renewal keeps the old one. `tick` is called every kTickInterval on a worker, by one thread at a
// time; readers take the identity from the Watch on any thread.

#pragma once

#include <chrono>
#include <cstdint>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/base/watch.h"
#include "lib/crypto/key_type.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/tls/handshake.h"
#include "lib/x509/certificate.h"
#include "server/ca/ca.h"

namespace steeple::server {

class ServerSvid {
 public:
  static constexpr auto kTickInterval = std::chrono::seconds(5);

  struct Deps {
    Clock& clock;
    Ca& ca;
    Logger log;
    Metrics& metrics;
  };

  ServerSvid(crypto::KeyType key_type, Deps deps);
  ServerSvid(const ServerSvid&) = delete;
  ServerSvid& operator=(const ServerSvid&) = delete;

  // The first call makes the SVID; its error stops the start.
  Result<void> tick();

  // Null before the first tick.
  const Watch<tls::Identity>& identity() const { return identity_; }

 private:
  bool due();
  bool chains_to(const x509::Authorities& roots) const;
  Result<void> renew();

  crypto::KeyType key_type_;
  Deps deps_;
  std::uint64_t tainted_seen_ = 0;
  bool tainted_ = false;
  std::vector<x509::CertificatePtr> chain_;  // of the published identity
  Watch<tls::Identity> identity_;
};

}  // namespace steeple::server
