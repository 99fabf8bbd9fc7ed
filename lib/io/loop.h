// SPDX-License-Identifier: Apache-2.0

// The event loop seam. One Loop is one thread: its objects are made, used and destroyed on it, and
// assert so. `post` is the only call that other threads make. The real loop runs on Asio's epoll
// reactor (asio_loop.h); the simulated one orders events by an injected clock and a seed.

#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "lib/base/clock.h"

namespace steeple::io {

using Task = std::move_only_function<void()>;

class Loop {
 public:
  virtual ~Loop() = default;

  // Runs the task on the loop, later, in the order of posting per thread. Any thread.
  virtual void post(Task task) = 0;
  virtual bool on_loop() const = 0;
  virtual Clock& clock() = 0;

  // On the loop. A timer fires once; ids are never reused. Resolution is 1 ms or better.
  virtual std::uint64_t start_timer(Duration after, Task task) = 0;
  // No effect when it fired or was cancelled already.
  virtual void cancel_timer(std::uint64_t id) = 0;
};

// A timer that dies with its owner. On the loop.
class Timer {
 public:
  explicit Timer(Loop& loop) : loop_(loop) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Replaces a pending one.
  void start(Duration after, Task task) {
    cancel();
    id_ = loop_.start_timer(after, [this, task = std::move(task)]() mutable {
      id_ = 0;
      Task run = std::move(task);
      run();
    });
  }
  void cancel() {
    if (id_ != 0) {
      loop_.cancel_timer(std::exchange(id_, 0));
    }
  }
  bool pending() const { return id_ != 0; }

 private:
  Loop& loop_;
  std::uint64_t id_ = 0;
};

}  // namespace steeple::io
