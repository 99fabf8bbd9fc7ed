// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/metrics.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace steeple {
namespace {

class NoMetrics final : public Metrics {
 public:
  bool enabled() const override { return false; }
  void count(std::string_view, double, MetricLabels) override {}
  void gauge(std::string_view, double, MetricLabels) override {}
  void sample(std::string_view, double, MetricLabels) override {}
};

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// PascalCase to snake_case as SPIRE does it: an underscore before an upper-case letter that has a
// lower-case neighbour, unless it is the first or the last.
std::string snake_case(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (!is_lower(c) && !is_upper(c) && !is_digit(c)) {
      out += '_';
      continue;
    }
    bool edge = i == 0 || i + 1 >= text.size();
    if (is_upper(c) && !edge && (is_lower(text[i + 1]) || is_lower(text[i - 1])) &&
        out.back() != '_') {
      out += '_';
    }
    out += is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

std::string_view short_service(std::string_view service) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kNames = {{
      {"SpiffeWorkloadAPI", "WorkloadAPI"},
      {"envoy.service.secret.v3.SecretDiscoveryService", "SDS.v3"},
      {"grpc.health.v1.Health", "Health"},
      {"spire.api.server.logger.v1.Logger", "Logger"},
      {"spire.api.agent.logger.v1.Logger", "Logger"},
      {"spire.agent.debug.v1.Debug", "Debug"},
      {"spire.api.agent.delegatedidentity.v1.DelegatedIdentity", "DelegatedIdentity"},
  }};
  for (const auto& [name, replacement] : kNames) {
    if (service == name) {
      return replacement;
    }
  }
  constexpr std::string_view kPrefix = "spire.api.server.";
  return service.starts_with(kPrefix) ? service.substr(kPrefix.size()) : service;
}

// For Metrics that have nothing to look up.
class PlainSeries final : public MetricSeries {
 public:
  using Put = void (Metrics::*)(std::string_view, double, MetricLabels);
  PlainSeries(Metrics& metrics, Put put, std::string_view key, MetricLabels labels)
      : metrics_(metrics), put_(put), key_(key) {
    for (const MetricLabel& label : labels) {
      labels_.emplace_back(label.name, label.value);
    }
  }
  void put(double value) override {
    std::vector<MetricLabel> labels;
    labels.reserve(labels_.size());
    for (const auto& [name, text] : labels_) {
      labels.push_back({name, text});
    }
    (metrics_.*put_)(key_, value, labels);
  }

 private:
  Metrics& metrics_;
  Put put_;
  std::string key_;
  std::vector<std::pair<std::string, std::string>> labels_;
};

}  // namespace

std::unique_ptr<MetricSeries> Metrics::counter(std::string_view key, MetricLabels labels) {
  return std::make_unique<PlainSeries>(*this, PlainSeries::Put(&Metrics::count), key, labels);
}
std::unique_ptr<MetricSeries> Metrics::sampler(std::string_view key, MetricLabels labels) {
  return std::make_unique<PlainSeries>(*this, PlainSeries::Put(&Metrics::sample), key, labels);
}

Metrics& no_metrics() {
  static NoMetrics none;
  return none;
}

CallCounter::CallCounter(Metrics& metrics, Clock& clock, std::string_view key)
    : metrics_(metrics.enabled() ? &metrics : nullptr), clock_(&clock) {
  if (metrics_ != nullptr) {
    key_ = key;
    start_ = clock.steady();
  }
}

void CallCounter::label(std::string_view name, std::string value) {
  if (metrics_ != nullptr) {
    labels_.emplace_back(name, std::move(value));
  }
}

void CallCounter::done(Code code) {
  Metrics* metrics = std::exchange(metrics_, nullptr);
  if (metrics == nullptr) {
    return;
  }
  labels_.emplace_back("status", code_name(code));
  std::vector<MetricLabel> labels;
  labels.reserve(labels_.size());
  for (const auto& [name, value] : labels_) {
    labels.push_back({name, value});
  }
  std::chrono::duration<double, std::milli> elapsed = clock_->steady() - start_;
  metrics->count(key_, 1, MetricLabels(labels));
  metrics->sample(key_ + ".elapsed_time", elapsed.count(), MetricLabels(labels));
}

std::string rpc_metric_key(std::string_view service, std::string_view method) {
  std::string key = "rpc.";
  std::string_view rest = short_service(service);
  for (std::size_t dot; (dot = rest.find('.')) != std::string_view::npos;
       rest.remove_prefix(dot + 1)) {
    key += snake_case(rest.substr(0, dot)) + ".";
  }
  key += snake_case(rest) + ".";
  return key + (method == "SubscribeToX509SVIDs" ? "subscribe_to_x509_svids" : snake_case(method));
}

std::string sanitize_metric_label(std::string_view text) {
  auto is_word = [](char c) { return is_lower(c) || is_upper(c) || is_digit(c) || c == '_'; };
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (is_word(text[i])) {
      out += text[i++];
      continue;
    }
    while (i < text.size() && !is_word(text[i])) {
      ++i;
    }
    if (i < text.size() && text[i] == '_') {
      ++i;
    }
    out += '_';
  }
  return out;
}

}  // namespace steeple
