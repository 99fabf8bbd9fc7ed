// SPDX-License-Identifier: Apache-2.0

// What happened in a run: a hash over all events, which must be the same for the same seed, and the
// failures. In a verbose run each event is also printed with its simulated time.

#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/telemetry/log.h"

namespace steeple::simulation {

class Trace {
 public:
  Trace(const Clock& clock, bool verbose) : clock_(clock), verbose_(verbose) {}

  template <class... Args>
  void event(fmt::format_string<Args...> format, Args&&... args) {
    add(fmt::format(format, std::forward<Args>(args)...));
  }
  // An invariant does not hold. The run stops soon after.
  template <class... Args>
  void fail(fmt::format_string<Args...> format, Args&&... args) {
    failures_.push_back(stamp() + fmt::format(format, std::forward<Args>(args)...));
    add("FAILED: " + failures_.back());
  }
  bool failed() const { return !failures_.empty(); }
  const std::vector<std::string>& failures() const { return failures_; }
  std::uint64_t hash() const { return hash_; }
  std::uint64_t events() const { return events_; }
  bool verbose() const { return verbose_; }
  // "12d 03:04:05.678 "
  std::string stamp() const;
  // The log of a simulated process: printed in verbose runs, else discarded.
  Logger logger(const std::string& process, Clock& clock) const;

 private:
  void add(const std::string& text);

  const Clock& clock_;
  const bool verbose_;
  std::vector<std::string> failures_;
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
  std::uint64_t events_ = 0;
};

}  // namespace steeple::simulation
