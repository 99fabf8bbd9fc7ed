// SPDX-License-Identifier: Apache-2.0

// The upstream authority whose CA certificate and key are files. They are read again at every mint,
// so an operator rotates them by replacing files; while they are unreadable the last good ones
// serve. Without a bundle file the certificate must be one self-signed root.

#pragma once

#include <memory>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/telemetry/log.h"
#include "server/ca/upstream_authority.h"
#include "spiffe/trust_domain.h"

namespace steeple::server {

struct DiskUpstreamConfig {
  std::string cert_file_path;    // the CA, then its intermediates, PEM
  std::string key_file_path;     // PEM
  std::string bundle_file_path;  // roots, PEM; empty: the certificate is the root
};

struct DiskUpstreamDeps {
  Clock& clock;
  Random& random;
  Logger log;
};

// Reads the files once; the error is the reference's.
Result<std::unique_ptr<UpstreamAuthority>> disk_upstream_authority(
    DiskUpstreamConfig config, const spiffe::TrustDomain& trust_domain, DiskUpstreamDeps deps);

}  // namespace steeple::server
