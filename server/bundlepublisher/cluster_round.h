// SPDX-License-Identifier: Apache-2.0

// One delivery to several clusters at once: ends when each of them has, with all that went wrong.
// On the loop.

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/result.h"

namespace steeple::server {

class ClusterRound {
 public:
  using Done = std::move_only_function<void(Result<void>)>;

  // What stands before all problems, and between two.
  ClusterRound(std::string_view prefix, std::string_view separator)
      : prefix_(prefix), separator_(separator) {}

  // `begin` itself counts as one that must end, so that `done` cannot run before all have begun.
  void begin(std::size_t clusters, Done done) {
    done_ = std::move(done);
    problems_.clear();
    missing_ = clusters + 1;
  }
  void ended() {
    if (--missing_ == 0) {
      auto done = std::move(done_);
      done(problems_.empty() ? Result<void>() : Result<void>(internal(prefix_ + problems_)));
    }
  }
  void failed(const std::string& problem) {
    problems_ += problems_.empty() ? problem : separator_ + problem;
    ended();
  }

 private:
  const std::string prefix_, separator_;
  Done done_;
  std::size_t missing_ = 0;
  std::string problems_;
};

}  // namespace steeple::server
