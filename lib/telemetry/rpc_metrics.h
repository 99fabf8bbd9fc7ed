// SPDX-License-Identifier: Apache-2.0

// Counts finished RPCs and their durations, by method and status, as CallCounter does, with the
// series looked up once and not per call. Belongs to one loop.

#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "lib/telemetry/metrics.h"

namespace steeple {

class RpcMetrics {
 public:
  // `key_of` gives a method's metric key; the method is "/package.Service/Method". An empty key:
  // not counted. `metrics` outlives it.
  using KeyOf = std::function<std::string(std::string_view method)>;
  RpcMetrics(Metrics& metrics, KeyOf key_of) : metrics_(metrics), key_of_(std::move(key_of)) {}

  void finished(const std::string& method, Code code, Duration took);

 private:
  static constexpr std::size_t kCodes = 17;
  struct Series {
    std::unique_ptr<MetricSeries> count, time;
  };
  struct Method {
    std::string key;
    std::array<Series, kCodes> by_code;
  };

  Series make(const std::string& key, Code code);

  Metrics& metrics_;
  KeyOf key_of_;
  std::unordered_map<std::string, std::unique_ptr<Method>> methods_;
};

}  // namespace steeple
