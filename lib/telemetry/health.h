// SPDX-License-Identifier: Apache-2.0

// Health of the subsystems: each check runs every second until all are live and ready, then every
// minute, as in the reference. The listener (health_listener.h) shows the last results. On the
// loop.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/telemetry/log.h"

namespace steeple {

struct HealthState {
  using Details = std::vector<std::pair<std::string, std::string>>;  // empty values are left out

  std::optional<bool> started;  // unset counts as started
  bool live = false;
  bool ready = false;
  // Shown in the JSON body; unset is null, empty is {}.
  std::optional<Details> live_details;
  std::optional<Details> ready_details;
};

class HealthChecks {
 public:
  // Answers from what it knows, or is told: must not block the loop.
  using Check = std::function<HealthState()>;
  // For checks that block: starts one elsewhere, whose answer is called once, on the loop. A check
  // that has not answered by the next time is not started again.
  using Done = std::function<void(HealthState)>;
  using StartCheck = std::function<void(Done)>;

  HealthChecks(io::Loop& loop, Logger log);
  ~HealthChecks();
  HealthChecks(const HealthChecks&) = delete;
  HealthChecks& operator=(const HealthChecks&) = delete;

  Result<void> add(std::string name, Check check);
  // Neither live nor ready before its first answer.
  Result<void> add_slow(std::string name, StartCheck start);
  // Runs the checks now and from then on. An error when there is none.
  Result<void> start();

  struct Answer {
    bool good = false;
    std::string body;  // {"server":{},...} and a newline
  };
  Answer live() const;
  Answer ready() const;
  bool started() const;

 private:
  struct Subsystem {
    StartCheck start;
    bool under_way = false;
    HealthState state;
    std::string error;  // empty when the last check was good
    std::int64_t failures = 0;
    WallTime first_failure;
    std::string startup_error;  // told already
  };

  void run();
  void answered(const std::string& name, HealthState state);
  void judge(const std::string& name, Subsystem& subsystem);

  io::Loop& loop_;
  Logger log_;
  std::map<std::string, Subsystem> subsystems_;
  bool was_good_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // for answers that come too late
  io::Timer timer_;
};

}  // namespace steeple
