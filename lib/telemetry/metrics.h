// SPDX-License-Identifier: Apache-2.0

// Metrics under SPIRE's names. A key is dotted ("rpc.agent.v1.agent.attest_agent"); each sink puts
// the prefix in front and joins in its own way. Thread safe. `no_metrics()` costs a virtual call.
//
//   CallCounter call(metrics, clock, "datastore.node.create");
//   auto result = store.create(node);
//   call.done(result);   // datastore_node_create{status="OK"} and
//   datastore_node_create_elapsed_time

#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/result.h"

namespace steeple {

struct MetricLabel {
  std::string_view name;
  std::string_view value;
};
using MetricLabels = std::span<const MetricLabel>;

// One series, looked up once, for values that come with every call. Thread safe. Its Metrics
// outlives it.
class MetricSeries {
 public:
  virtual ~MetricSeries() = default;
  virtual void put(double value) = 0;
};

class Metrics {
 public:
  virtual ~Metrics() = default;
  // False: nothing listens, so callers may save the work of making keys and labels.
  virtual bool enabled() const = 0;
  virtual void count(std::string_view key, double by, MetricLabels labels) = 0;
  virtual void gauge(std::string_view key, double value, MetricLabels labels) = 0;
  virtual void sample(std::string_view key, double value, MetricLabels labels) = 0;

  // What is put is counted, or sampled, as by the calls above.
  virtual std::unique_ptr<MetricSeries> counter(std::string_view key, MetricLabels labels);
  virtual std::unique_ptr<MetricSeries> sampler(std::string_view key, MetricLabels labels);

  void count(std::string_view key, std::initializer_list<MetricLabel> labels = {}) {
    count(key, 1, MetricLabels(labels.begin(), labels.size()));
  }
  void gauge(std::string_view key, double value, std::initializer_list<MetricLabel> labels = {}) {
    gauge(key, value, MetricLabels(labels.begin(), labels.size()));
  }
  void sample(std::string_view key, double value, std::initializer_list<MetricLabel> labels = {}) {
    sample(key, value, MetricLabels(labels.begin(), labels.size()));
  }
};

Metrics& no_metrics();

// Counts one call and its duration in milliseconds, with the status (gRPC's code name) as label.
// Destroyed without `done`, it counts nothing. Used by one thread at a time.
class CallCounter {
 public:
  CallCounter(Metrics& metrics, Clock& clock, std::string_view key);
  CallCounter(CallCounter&&) = default;

  void label(std::string_view name, std::string value);
  void done(Code code = Code::kOk);
  template <class T>
  void done(const Result<T>& result) {
    done(result.ok() ? Code::kOk : result.error().code);
  }

 private:
  Metrics* metrics_;  // null when done, or nothing listens
  Clock* clock_;
  std::string key_;
  SteadyTime start_;
  std::vector<std::pair<std::string, std::string>> labels_;
};

// "spire.api.server.agent.v1.Agent" and "AttestAgent" give "rpc.agent.v1.agent.attest_agent".
std::string rpc_metric_key(std::string_view service, std::string_view method);

// Every run of characters outside [A-Za-z0-9_], with an underscore after it, becomes "_".
std::string sanitize_metric_label(std::string_view text);

}  // namespace steeple
