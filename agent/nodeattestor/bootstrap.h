// SPDX-License-Identifier: Apache-2.0

// The trust in the server before there is a stored bundle: a file, a URL, or none at all
// (insecure_bootstrap). Read anew at every attempt. Blocks: on a worker.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/config/agent_config.h"
#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "spiffe/trust_domain.h"

namespace steeple::agent {

// What trust_bundle_url on a Unix socket is told as query parameters.
struct BootstrapAttempt {
  spiffe::TrustDomain trust_domain;
  std::string server_address;
  std::uint16_t server_port = 0;
  int number = 1;
  WallTime started{};
};

// Nothing: insecure bootstrap. Error texts are the reference's.
Result<std::optional<std::vector<Bytes>>> read_bootstrap_bundle(const BootstrapTrust& trust,
                                                                const BootstrapAttempt& attempt);
// The URL with those parameters; for tests.
std::string bootstrap_url(const std::string& url, const BootstrapAttempt& attempt);

}  // namespace steeple::agent
