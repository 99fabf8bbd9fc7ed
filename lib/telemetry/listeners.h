// SPDX-License-Identifier: Apache-2.0

// The two HTTP listeners of telemetry: health_checks{} and telemetry{ Prometheus{} }. On the loop.

#pragma once

#include <functional>
#include <memory>

#include "lib/base/result.h"
#include "lib/http/server.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/telemetry/config.h"
#include "lib/telemetry/health.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics_registry.h"
#include "lib/telemetry/metrics_tls.h"

namespace steeple {

struct ListenerDeps {
  io::Loop& loop;
  io::Network& network;
  Logger log;
};

// GET on live_path and ready_path: 200 or 500 with the details as JSON. Null when not enabled.
Result<std::unique_ptr<http::Server>> serve_health(const HealthConfig& config,
                                                   const HealthChecks& checks, ListenerDeps deps);

// Every path serves the metrics, with `tls{}` to those whom it names.
Result<std::unique_ptr<http::Server>> serve_prometheus(const PrometheusConfig& config,
                                                       MetricsRegistry& metrics, ListenerDeps deps,
                                                       const MetricsTlsDeps& tls);

}  // namespace steeple
