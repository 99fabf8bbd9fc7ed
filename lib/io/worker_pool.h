// SPDX-License-Identifier: Apache-2.0

// The real Workers: a fixed number of threads and a bounded queue. The destructor runs what is
// queued and joins; the loops that results are posted to must outlive it.

#pragma once

#include <cstddef>
#include <memory>

#include "lib/io/workers.h"

namespace steeple::io {

class WorkerPool final : public Workers {
 public:
  struct Options {
    std::size_t threads = 2;
    std::size_t queue_max = 4096;  // tasks waiting, beyond those running
  };

  explicit WorkerPool(Options options);
  WorkerPool() : WorkerPool(Options{}) {}
  ~WorkerPool() override;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  Result<void> submit(Task task) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace steeple::io
