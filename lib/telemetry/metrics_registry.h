// SPDX-License-Identifier: Apache-2.0

// The metrics that telemetry{} configures: Prometheus page, StatsD and DogStatsD over UDP, and the
// in-memory intervals dumped to the log on SIGUSR1. Without any sink it does nothing.
// Metrics calls on any thread; the rest on the loop.

#pragma once

#include <memory>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/config.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace steeple {

// Series beyond this are dropped (and one warning logged): labels must not eat the memory.
inline constexpr std::size_t kMetricSeriesMax = 20'000;

class MetricsRegistry : public Metrics {
 public:
  struct Deps {
    io::Loop& loop;  // flushes StatsD; its clock times the intervals
    Logger log;
    io::Workers* workers = nullptr;  // to resolve a StatsD address again that failed at first
  };
  struct Options {
    TelemetryConfig config;
    std::string service_name;  // "spire_server": the prefix unless MetricPrefix is set
    std::string trust_domain;  // for EnableTrustDomainLabel
    std::string host_name;     // label host; empty: none
  };

  // kUnimplemented for a sink that is not built. Blocks to resolve StatsD addresses.
  static Result<std::unique_ptr<MetricsRegistry>> create(Options options, Deps deps);

  // The exposition text (version 0.0.4). Any thread.
  virtual std::string prometheus_page() = 0;
  // Writes the finished intervals of the InMem sink to the log; nothing when there is none.
  virtual void dump_in_memory() = 0;
};

// This machine's name, for Options::host_name.
std::string local_host_name();

}  // namespace steeple
