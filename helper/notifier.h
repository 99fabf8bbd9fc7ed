// SPDX-License-Identifier: Apache-2.0

// Tells whoever uses the files that they have changed: starts the command or signals it, and
// signals the process of the pid file. On the loop.

#pragma once

#include <memory>

#include "helper/config/helper_config.h"
#include "helper/process/child.h"
#include "helper/writer.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"

namespace steeple::helper {

struct NotifierTimes {
  Duration pid_file_retry = std::chrono::milliseconds(100);  // doubles
  Duration stop_grace = std::chrono::seconds(25);            // kubelets give a pod 30 s
};

class Notifier {
 public:
  Notifier(const HelperConfig& config, io::AsioLoop& loop, io::Workers& workers,
           NotifierTimes times, Logger log);
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void files_changed();
  // Hands a signal of ours on to the command.
  void forward(int signal);
  // Hands the signal on and waits for the command's end, which is forced after the grace.
  void stop(int signal, std::function<void()> done);
  pid_t child_pid() const { return child_.pid(); }

 private:
  void signal_pid_file(int tries_left, Duration wait);
  void child_exited(pid_t pid, const std::string& how);

  const HelperConfig& config_;
  io::Loop& loop_;
  io::Workers& workers_;
  const NotifierTimes times_;
  const Logger log_;
  Child child_;
  io::Timer pid_file_retry_, kill_;
  std::function<void()> stopped_;
  // A change while the pid file is still tried for the last one starts over.
  std::uint64_t pid_file_round_ = 0;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace steeple::helper
