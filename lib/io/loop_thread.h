// SPDX-License-Identifier: Apache-2.0

// A real loop on a thread of its own, for libraries inside other people's programs. The thread
// blocks all signals: those belong to the program. Any thread may use it.

#pragma once

#include <functional>
#include <memory>

#include "lib/io/asio_loop.h"

namespace steeple::io {

class LoopThread {
 public:
  LoopThread();
  ~LoopThread();  // stops the loop and joins; not from the loop itself
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  AsioLoop& loop() { return loop_; }
  // Runs the task on the loop and waits for its end. On the loop itself: runs it at once.
  void run(std::function<void()> task);

 private:
  struct Thread;

  AsioLoop loop_;
  std::unique_ptr<Thread> thread_;
};

}  // namespace steeple::io
