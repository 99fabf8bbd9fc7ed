// SPDX-License-Identifier: Apache-2.0

// The real Loop: one thread, Asio's epoll reactor inside asio_loop.cc and nowhere else. Timers are
// a heap under a single Asio timer, so that a call's deadline costs no kernel or Asio object.
// Construction ignores SIGPIPE for the process: a dead peer is an error of write, not a signal.
//
// Threads: `post`, `stop` and `on_loop` from any; the rest from the thread that calls `run`, or
// from the one that built the loop while it does not run.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "lib/io/loop.h"

namespace steeple::io {

// Readiness of one descriptor, which the watch borrows. Destroying it ends the watching, also from
// inside its own handler.
class FdWatch {
 public:
  // (readable, writable); error and hang-up are told as whatever was asked for.
  using Handler = std::function<void(bool readable, bool writable)>;

  virtual ~FdWatch() = default;
  virtual void on_ready(Handler handler) = 0;
  // Level triggered: told again as long as the interest and the readiness last.
  virtual void interest(bool readable, bool writable) = 0;
};

class AsioLoop final : public Loop {
 public:
  explicit AsioLoop(Clock& clock = system_clock());
  ~AsioLoop() override;
  AsioLoop(const AsioLoop&) = delete;
  AsioLoop& operator=(const AsioLoop&) = delete;

  // Runs events until `stop`. May be called again afterwards.
  void run();
  // Any thread. Before `run`: that run returns at once.
  void stop();

  void post(Task task) override;
  bool on_loop() const override;
  Clock& clock() override;
  std::uint64_t start_timer(Duration after, Task task) override;
  void cancel_timer(std::uint64_t id) override;

  std::unique_ptr<FdWatch> watch(int fd);
  // From now on these signals (SIGINT, SIGTERM, SIGUSR1, ...) come to the handler, on the loop.
  void on_signals(const std::vector<int>& signals, std::function<void(int signal)> handler);

 private:
  struct State;
  class Watcher;
  std::shared_ptr<State> state_;
};

}  // namespace steeple::io
