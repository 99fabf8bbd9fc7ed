// SPDX-License-Identifier: Apache-2.0

// Runs blocking work on a worker, again and again, with a pause between the end of one run and the
// start of the next; `soon` runs it at once. Lives on a loop. Destroying it forbids new runs; a run
// under way holds what its function captured, so capture what must outlive it.

#pragma once

#include <functional>
#include <memory>

#include "lib/base/clock.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"

namespace steeple::server {

class Periodic {
 public:
  // `work` runs on a worker, never twice at a time. The first run comes after one interval.
  Periodic(io::Loop& loop, io::Workers& workers, Duration interval, std::function<void()> work);
  ~Periodic();
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;

  // On the loop: now, or right after the run under way.
  void soon();
  // On the loop: no new runs; `idle` runs on the loop once none is under way. What the work uses
  // may be destroyed then.
  void stop(io::Task idle);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace steeple::server
