// SPDX-License-Identifier: Apache-2.0

// The helper that writes once and ends: for init containers. Each thing is fetched and written in
// turn; while the Workload API says that there is no identity yet (PermissionDenied) it is asked
// again, at growing intervals; anything else ends it. Lives on one loop.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "helper/helper.h"

namespace steeple::helper {

class Once {
 public:
  Once(const HelperConfig& config, HelperDeps deps, HelperTimes times, Helper::Ended ended);
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  void start();

 private:
  struct Step {
    std::string doing = {}, done = {}, failed = {};  // log texts
    std::string prefix = {};                         // of the error
    // On a worker.
    std::function<Result<std::vector<FileContent>>()> fetch = {};
    bool go_on = false;  // the next one is tried even so: all tokens are
  };
  struct Outcome {
    Result<void> result;
    bool not_yet = false;
  };

  void add_x509();
  void add_jwt_bundle();
  void add_jwt_svids();
  void run(int tries_left, Duration wait);
  void finished(Outcome outcome, int tries_left, Duration wait);
  void next();

  const HelperConfig& config_;
  const HelperDeps deps_;
  const HelperTimes times_;
  Helper::Ended ended_;
  std::vector<Step> steps_;
  std::size_t at_ = 0;
  std::string errors_;
  io::Timer wait_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace steeple::helper
