// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

namespace steeple {
namespace {

using namespace std::chrono_literals;

constexpr auto kFirstInterval = 1s;
constexpr auto kInterval = 1min;

std::string_view verdict(const HealthState& state) {
  if (state.live && state.ready) {
    return "";
  }
  if (state.ready) {
    return "subsystem is not live";
  }
  return state.live ? "subsystem is not ready" : "subsystem is not live or ready";
}

nlohmann::json details_json(const std::optional<HealthState::Details>& details) {
  if (!details) {
    return nullptr;
  }
  auto out = nlohmann::json::object();
  for (const auto& [key, value] : *details) {
    if (!value.empty()) {
      out[key] = value;
    }
  }
  return out;
}

// For the log, as the reference shows them: "{<live> <ready>}" would tell less.
std::string details_text(const HealthState& state) {
  return fmt::format("live={} ready={}", state.live, state.ready);
}

std::string render(const nlohmann::json& body) {
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

HealthChecks::HealthChecks(io::Loop& loop, Logger log)
    : loop_(loop), log_(log.subsystem("health")), timer_(loop) {}

HealthChecks::~HealthChecks() = default;

Result<void> HealthChecks::add(std::string name, Check check) {
  return add_slow(std::move(name), [check = std::move(check)](const Done& done) { done(check()); });
}

Result<void> HealthChecks::add_slow(std::string name, StartCheck start) {
  if (subsystems_.contains(name)) {
    return already_exists(fmt::format("check \"{}\" has already been added", name));
  }
  subsystems_[std::move(name)].start = std::move(start);
  return {};
}

Result<void> HealthChecks::start() {
  if (subsystems_.empty()) {
    return failed_precondition("no health checks defined");
  }
  LOG_DEBUG(log_, "Initializing health checkers");
  run();
  return {};
}

void HealthChecks::run() {
  for (auto& [name, subsystem] : subsystems_) {
    if (!std::exchange(subsystem.under_way, true)) {
      subsystem.start([this, alive = std::weak_ptr<int>(alive_), name = name](HealthState state) {
        if (!alive.expired()) {
          answered(name, std::move(state));
        }
      });
    }
  }
  bool good = std::ranges::all_of(subsystems_, [](const auto& named) {
    return named.second.state.live && named.second.state.ready;
  });
  was_good_ = was_good_ || good;
  timer_.start(was_good_ ? Duration(kInterval) : Duration(kFirstInterval), [this] { run(); });
}

void HealthChecks::answered(const std::string& name, HealthState state) {
  Subsystem& subsystem = subsystems_.at(name);
  subsystem.under_way = false;
  subsystem.state = std::move(state);
  judge(name, subsystem);
}

// Tells each failure, the start of a row of them, and its end.
void HealthChecks::judge(const std::string& name, Subsystem& subsystem) {
  const HealthState& state = subsystem.state;
  std::string error(verdict(state));
  std::string before = std::exchange(subsystem.error, error);
  if (!error.empty()) {
    if (state.started.value_or(true)) {
      LOG_ERROR(log_, "Health check has failed", {"check", name}, {"error", error});
    } else if (subsystem.startup_error != error) {
      LOG_WARN(log_, "Health check has failed. Starting up still.", {"check", name},
               {"error", error});
      subsystem.startup_error = error;
    }
  }
  WallTime now = loop_.clock().now();
  if (!error.empty() && before.empty()) {
    LOG_WARN(log_, "Health check failed", {"check", name}, {"details", details_text(state)},
             {"error", error});
    subsystem.first_failure = now;
    subsystem.failures = 1;
  } else if (!error.empty()) {
    ++subsystem.failures;
  } else if (!before.empty()) {
    std::chrono::duration<double> lasted = now - subsystem.first_failure;
    LOG_INFO(log_, "Health check recovered", {"check", name}, {"details", details_text(state)},
             {"error", before}, {"failures", subsystem.failures}, {"duration", lasted.count()});
  }
}

HealthChecks::Answer HealthChecks::live() const {
  Answer answer{true, {}};
  auto body = nlohmann::json::object();
  for (const auto& [name, subsystem] : subsystems_) {
    answer.good = answer.good && subsystem.state.live;
    body[name] = details_json(subsystem.state.live_details);
  }
  answer.body = render(body);
  return answer;
}

HealthChecks::Answer HealthChecks::ready() const {
  Answer answer{true, {}};
  auto body = nlohmann::json::object();
  for (const auto& [name, subsystem] : subsystems_) {
    answer.good = answer.good && subsystem.state.ready;
    body[name] = details_json(subsystem.state.ready_details);
  }
  answer.body = render(body);
  return answer;
}

bool HealthChecks::started() const {
  return std::all_of(subsystems_.begin(), subsystems_.end(),
                     [](const auto& named) { return named.second.state.started.value_or(true); });
}

}  // namespace steeple
