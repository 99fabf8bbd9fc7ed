// SPDX-License-Identifier: Apache-2.0

// The gauges that say that a process is there: `started` (1) once, and `uptime_in_ms` now and every
// ten seconds, as in the reference. On the loop.

#pragma once

#include <string_view>

#include "lib/io/loop.h"
#include "lib/telemetry/metrics.h"

namespace steeple {

class Uptime {
 public:
  // Emits nothing when nothing listens.
  Uptime(io::Loop& loop, Metrics& metrics, std::string_view version, std::string_view trust_domain);
  Uptime(const Uptime&) = delete;
  Uptime& operator=(const Uptime&) = delete;

 private:
  void report();

  io::Loop& loop_;
  Metrics& metrics_;
  SteadyTime start_;
  io::Timer timer_;
};

}  // namespace steeple
