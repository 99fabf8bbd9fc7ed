// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/listeners.h"

#include <fmt/format.h>

#include <charconv>

namespace steeple {
namespace {

Result<std::uint16_t> parse_port(const std::string& text) {
  std::uint16_t port = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) {
    return invalid_argument(fmt::format("health_checks: bind_port \"{}\" is not a port", text));
  }
  return port;
}

std::string without_brackets(std::string host) {
  std::erase_if(host, [](char c) { return c == '[' || c == ']'; });
  return host;
}

http::Handler answer(const HealthChecks& checks,
                     HealthChecks::Answer (HealthChecks::*which)() const) {
  return [&checks, which](const http::Request&, http::Respond respond) {
    HealthChecks::Answer found = (checks.*which)();
    respond({.status = found.good ? 200 : 500,
             .content_type = "application/json",
             .body = std::move(found.body)});
  };
}

}  // namespace

Result<std::unique_ptr<http::Server>> serve_health(const HealthConfig& config,
                                                   const HealthChecks& checks, ListenerDeps deps) {
  if (!config.listener_enabled) {
    return std::unique_ptr<http::Server>();
  }
  HealthConfig defaults;
  std::string host = config.bind_address.empty() ? defaults.bind_address : config.bind_address;
  std::uint16_t port =
      TRY(parse_port(config.bind_port.empty() ? defaults.bind_port : config.bind_port));
  auto server = std::make_unique<http::Server>(deps.loop, http::ServerOptions{});
  server->route(config.ready_path.empty() ? defaults.ready_path : config.ready_path,
                answer(checks, &HealthChecks::ready));
  server->route(config.live_path.empty() ? defaults.live_path : config.live_path,
                answer(checks, &HealthChecks::live));
  TRY(server->listen(deps.network, io::Endpoint::tcp(without_brackets(host), port))
          .during("Error serving health checks"));
  LOG_INFO(deps.log.subsystem("health"), "Serving health checks",
           {"address", server->endpoints().front().text()});
  return server;
}

Result<std::unique_ptr<http::Server>> serve_prometheus(const PrometheusConfig& config,
                                                       MetricsRegistry& metrics, ListenerDeps deps,
                                                       const MetricsTlsDeps& tls) {
  Logger log = deps.log.subsystem("telemetry");
  std::shared_ptr<const tls::ServerPolicy> policy;
  if (config.tls) {
    policy = TRY(metrics_tls_policy(*config.tls, tls, deps.loop, log).during(kMetricsTlsDoing));
  }
  std::string host = config.host.empty() ? "localhost" : config.host;
  if (host != "localhost") {
    LOG_WARN(log,
             "Agent is now configured to accept remote network connections for Prometheus stats "
             "collection. Please ensure access to this port is tightly controlled");
  }
  LOG_INFO(log, "Starting prometheus exporter", {"host", host}, {"port", config.port});
  auto server = std::make_unique<http::Server>(deps.loop, http::ServerOptions{});
  server->route("", [&metrics](const http::Request&, http::Respond respond) {
    respond({.content_type = "text/plain; version=0.0.4; charset=utf-8",
             .body = metrics.prometheus_page()});
  });
  auto at = io::Endpoint::tcp(without_brackets(host), static_cast<std::uint16_t>(config.port));
  tls::Handshake* handshake = policy ? &tls.handshake : nullptr;
  TRY(server->listen(deps.network, at, {}, handshake, std::move(policy))
          .during("Prometheus listener"));
  return server;
}

}  // namespace steeple
