// SPDX-License-Identifier: Apache-2.0

// What a finished RPC costs when Prometheus is on.

#include <fmt/format.h>

#include "lib/base/fake_clock.h"
#include "lib/io/fake_loop.h"
#include "lib/telemetry/metrics_registry.h"
#include "lib/telemetry/rpc_metrics.h"

int main() {
  using namespace steeple;  // NOLINT(google-build-using-namespace): a program of one page
  constexpr int kCalls = 1'000'000;
  FakeClock fake;
  io::SimScheduler scheduler(fake, 1);
  io::SimLoop loop(scheduler);
  TelemetryConfig config;
  config.prometheus.emplace();
  auto metrics = MetricsRegistry::create({.config = std::move(config),
                                          .service_name = "spire_server",
                                          .trust_domain = "example.org",
                                          .host_name = ""},
                                         {.loop = loop, .log = {}})
                     .take();
  RpcMetrics calls(*metrics, [](std::string_view method) { return std::string(method); });
  const std::string method = "/spire.api.server.svid.v1.SVID/NewJWTSVID";
  SteadyTime began = system_clock().steady();
  for (int i = 0; i < kCalls; ++i) {
    calls.finished(method, Code::kOk, std::chrono::microseconds(100 + i % 1000));
  }
  double took =
      std::chrono::duration<double, std::micro>(system_clock().steady() - began).count() / kCalls;
  auto counter = metrics->counter("only.a.counter", {});
  began = system_clock().steady();
  for (int i = 0; i < kCalls; ++i) {
    counter->put(1);
  }
  double count =
      std::chrono::duration<double, std::micro>(system_clock().steady() - began).count() / kCalls;
  fmt::print("a finished RPC, count and time       {:7.3f} us   bar 1 us\n", took);
  fmt::print("a count alone                        {:7.3f} us\n", count);
  return 0;
}
