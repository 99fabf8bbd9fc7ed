// SPDX-License-Identifier: Apache-2.0

// Where metrics go, inside lib/telemetry: keys come with their prefix, labels sanitised and
// filtered. Thread safe.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace steeple {

struct Metric {
  std::string key;  // dotted, with the prefix
  double value = 0;
  std::vector<std::pair<std::string, std::string>> labels;
};

class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void count(const Metric& metric) = 0;
  virtual void gauge(const Metric& metric) = 0;
  virtual void sample(const Metric& metric) = 0;
  // The series of this metric, whose value is of no matter.
  virtual std::unique_ptr<MetricSeries> counter(Metric metric);
  virtual std::unique_ptr<MetricSeries> sampler(Metric metric);
};

class PrometheusSink : public MetricSink {
 public:
  virtual std::string page() = 0;
};
std::unique_ptr<PrometheusSink> make_prometheus_sink(Logger log);

// Sends lines by UDP, gathered for 100 ms; an address is host:port, or unix:///path for DogStatsD.
// An address that cannot be resolved is tried again, on a worker when there is one.
enum class StatsdDialect : std::uint8_t { kStatsd, kDogStatsd };
std::unique_ptr<MetricSink> make_statsd_sink(StatsdDialect dialect, std::string address,
                                             io::Loop& loop, io::Workers* workers, Logger log);

// Keeps intervals of one second, for an hour at most, for a dump to the log.
class MemorySink : public MetricSink {
 public:
  virtual void dump(const Logger& log) = 0;
};
std::unique_ptr<MemorySink> make_memory_sink(Clock& clock);

// The process_* metrics of Prometheus client libraries, in exposition format, sorted by name.
std::string process_metrics();

}  // namespace steeple
