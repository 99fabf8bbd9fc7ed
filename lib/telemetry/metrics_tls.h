// SPDX-License-Identifier: Apache-2.0

// telemetry{ Prometheus{ tls{} } }: with which certificate the metrics are served, and to whom.

#pragma once

#include <functional>
#include <memory>

#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/config.h"
#include "lib/telemetry/log.h"
#include "lib/tls/handshake.h"
#include "lib/x509/verify.h"

namespace steeple {

struct MetricsTlsDeps {
  io::Workers& workers;
  tls::Handshake& handshake;
  // The own X509-SVID; null while there is none.
  std::function<std::shared_ptr<const tls::Identity>()> own_svid;
  x509::AuthoritiesOf authorities;
};

// For settings that passed check_telemetry. Certificate files are read here and now, and again
// every few seconds; `client_ca_file` is read once. On the loop, as the policy is. An error: files
// that cannot be used.
Result<std::shared_ptr<const tls::ServerPolicy>> metrics_tls_policy(const MetricsTlsConfig& config,
                                                                    const MetricsTlsDeps& deps,
                                                                    io::Loop& loop,
                                                                    const Logger& log);

}  // namespace steeple
