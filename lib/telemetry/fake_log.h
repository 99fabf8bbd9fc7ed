// SPDX-License-Identifier: Apache-2.0

// A log that tests read. Thread safe.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/fake_clock.h"
#include "lib/base/guarded.h"
#include "lib/telemetry/log.h"

namespace steeple {

class CapturedLog {
 public:
  struct Line {
    LogLevel level;
    std::string message;
    std::map<std::string, std::string> fields;  // values as the text layout shows them, unquoted
  };

  explicit CapturedLog(LogLevel level = LogLevel::kTrace);

  const Logger& logger() const { return logger_; }
  operator const Logger&() const { return logger_; }
  std::vector<Line> lines() const;
  // Lines with that message.
  std::vector<Line> lines(std::string_view message) const;
  bool has(std::string_view message) const { return !lines(message).empty(); }
  void clear();

 private:
  class Sink;
  FakeClock clock_;
  std::shared_ptr<Sink> sink_;
  Logger logger_;
};

}  // namespace steeple
