// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/uptime.h"

#include <chrono>

namespace steeple {
namespace {

constexpr auto kReportInterval = std::chrono::seconds(10);

}  // namespace

Uptime::Uptime(io::Loop& loop, Metrics& metrics, std::string_view version,
               std::string_view trust_domain)
    : loop_(loop), metrics_(metrics), start_(loop.clock().steady()), timer_(loop) {
  if (metrics_.enabled()) {
    metrics_.gauge("started", 1, {{"version", version}, {"trust_domain_id", trust_domain}});
    report();
  }
}

void Uptime::report() {
  auto up = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.clock().steady() - start_);
  metrics_.gauge("uptime_in_ms", static_cast<double>(up.count()));
  timer_.start(kReportInterval, [this] { report(); });
}

}  // namespace steeple
