// SPDX-License-Identifier: Apache-2.0

// The simulated twin of the worker pool: each task runs whole, outside every loop, after a delay
// that the seed chooses. So tasks overtake each other, and a slow disk is a longer delay.

#pragma once

#include <memory>

#include "lib/io/fake_loop.h"
#include "lib/io/workers.h"

namespace steeple::io {

class SimWorkers final : public Workers {
 public:
  struct Options {
    Duration delay_min = std::chrono::microseconds(10);
    Duration delay_max = std::chrono::milliseconds(2);
    std::size_t queue_max = 4096;
  };

  SimWorkers(SimScheduler& scheduler, Options options);
  explicit SimWorkers(SimScheduler& scheduler) : SimWorkers(scheduler, Options{}) {}
  // What has not run yet is dropped, as the end of a process does.
  ~SimWorkers() override;

  Result<void> submit(Task task) override;
  void set_delay(Duration least, Duration most);

 private:
  struct State {
    Options options;
    std::uint64_t next_id = 1;
    std::map<std::uint64_t, Task> queue;
  };
  SimScheduler& scheduler_;
  std::shared_ptr<State> state_;
};

}  // namespace steeple::io
