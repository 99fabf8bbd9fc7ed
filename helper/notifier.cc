// SPDX-License-Identifier: Apache-2.0

#include "helper/notifier.h"

#include <csignal>

#include "lib/io/on_worker.h"

namespace steeple::helper {
namespace {

constexpr int kPidFileTries = 10;

}  // namespace

Notifier::Notifier(const HelperConfig& config, io::AsioLoop& loop, io::Workers& workers,
                   NotifierTimes times, Logger log)
    : config_(config),
      loop_(loop),
      workers_(workers),
      times_(times),
      log_(std::move(log)),
      child_(loop, config.cmd, config.cmd_args,
             [this](pid_t pid, const std::string& how) { child_exited(pid, how); }),
      pid_file_retry_(loop),
      kill_(loop) {}

void Notifier::files_changed() {
  if (stopped_) {
    return;
  }
  if (!config_.cmd.empty()) {
    Result<void> told =
        child_.running() ? child_.signal(config_.renew_signal_number) : child_.start();
    if (!told.ok()) {
      LOG_ERROR(log_, "Unable to signal process", {"error", told.error()});
    }
  }
  if (!config_.pid_file_name.empty()) {
    ++pid_file_round_;
    signal_pid_file(kPidFileTries, times_.pid_file_retry);
  }
}

void Notifier::signal_pid_file(int tries_left, Duration wait) {
  pid_file_retry_.cancel();
  auto work = [path = config_.pid_file_name, number = config_.renew_signal_number] {
    return helper::signal_pid_file(path, number);
  };
  auto then = [this, tries_left, wait, round = pid_file_round_](const Result<pid_t>& signalled) {
    if (signalled.ok() || round != pid_file_round_) {
      return;
    }
    if (tries_left <= 1) {
      LOG_ERROR(log_, "Unable to signal PID file", {"error", signalled.error()});
      return;
    }
    pid_file_retry_.start(wait,
                          [this, tries_left, wait] { signal_pid_file(tries_left - 1, wait * 2); });
  };
  io::on_worker(workers_, loop_, alive_, std::move(work), std::move(then));
}

void Notifier::forward(int signal) {
  if (auto sent = child_.signal(signal); !sent.ok()) {
    LOG_ERROR(log_, "Unable to signal process", {"error", sent.error()});
  }
}

void Notifier::stop(int signal, std::function<void()> done) {
  pid_file_retry_.cancel();
  ++pid_file_round_;
  stopped_ = std::move(done);
  if (!child_.running()) {
    stopped_();
    return;
  }
  forward(signal);
  kill_.start(times_.stop_grace, [this] {
    LOG_WARN(log_, "Process does not end and is killed", {"pid", child_.pid()});
    forward(SIGKILL);
  });
}

void Notifier::child_exited(pid_t pid, const std::string& how) {
  LOG_INFO(log_, "Process " + how, {"pid", pid});
  kill_.cancel();
  if (stopped_) {
    stopped_();
  }
}

}  // namespace steeple::helper
