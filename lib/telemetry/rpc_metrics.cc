// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/rpc_metrics.h"

#include <chrono>

namespace steeple {
namespace {

// The paths that clients ask for are theirs to choose; beyond this many a series is looked up anew.
constexpr std::size_t kMethodsMax = 256;

double millis(Duration took) { return std::chrono::duration<double, std::milli>(took).count(); }

}  // namespace

void RpcMetrics::finished(const std::string& method, Code code, Duration took) {
  if (!metrics_.enabled()) {
    return;
  }
  auto number = static_cast<std::size_t>(code);
  auto at = methods_.find(method);
  if (at == methods_.end() && methods_.size() < kMethodsMax) {
    at = methods_.emplace(method, std::make_unique<Method>()).first;
    at->second->key = key_of_(method);
  }
  if (at == methods_.end() || number >= kCodes) {
    if (std::string key = key_of_(method); !key.empty()) {
      Series once = make(key, code);
      once.count->put(1);
      once.time->put(millis(took));
    }
    return;
  }
  if (at->second->key.empty()) {
    return;
  }
  Series& series = at->second->by_code[number];
  if (!series.count) {
    series = make(at->second->key, code);
  }
  series.count->put(1);
  series.time->put(millis(took));
}

RpcMetrics::Series RpcMetrics::make(const std::string& key, Code code) {
  std::string status = code_name(code);
  const std::array<MetricLabel, 1> labels{MetricLabel{"status", status}};
  return {metrics_.counter(key, labels), metrics_.sampler(key + ".elapsed_time", labels)};
}

}  // namespace steeple
