// SPDX-License-Identifier: Apache-2.0

// Keeps one set of files equal to the newest content. Writes on a worker, one at a time; a write
// that fails is tried again until it succeeds or newer content comes. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "helper/files/atomic_files.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"

namespace steeple::helper {

struct RetryTimes {
  Duration first = std::chrono::seconds(1);
  Duration most = std::chrono::seconds(60);
};

// 1 s, 2 s, 4 s, ... up to the most.
class Backoff {
 public:
  explicit Backoff(RetryTimes times) : times_(times), next_(times.first) {}
  Duration next() {
    Duration now = next_;
    next_ = std::min(next_ * 2, times_.most);
    return now;
  }
  void reset() { next_ = times_.first; }

 private:
  RetryTimes times_;
  Duration next_;
};

class Writer {
 public:
  // Renders; on a worker, perhaps several times. Its error is not tried again: it is the content's.
  using Produce = std::function<Result<std::vector<FileContent>>()>;
  // After every try.
  using OnResult = std::function<void(const Result<void>&)>;

  Writer(io::Loop& loop, io::Workers& workers, RetryTimes times, OnResult on_result);
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(Produce produce);

 private:
  struct Outcome {
    Result<void> result;
    bool produced = true;
  };

  void run();
  void finished(Outcome outcome);

  io::Loop& loop_;
  io::Workers& workers_;
  const OnResult on_result_;
  Backoff backoff_;
  io::Timer retry_;
  Produce newest_;
  bool busy_ = false;
  bool newer_ = false;  // came while busy
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace steeple::helper
