// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/metrics_registry.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "lib/telemetry/metric_sink.h"

namespace steeple {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

// For sinks that have nothing to look up.
class SinkSeries final : public MetricSeries {
 public:
  using Put = void (MetricSink::*)(const Metric&);
  SinkSeries(MetricSink& sink, Put put, Metric metric)
      : sink_(sink), put_(put), metric_(std::move(metric)) {}
  void put(double value) override {
    Metric metric = metric_;
    metric.value = value;
    (sink_.*put_)(metric);
  }

 private:
  MetricSink& sink_;
  Put put_;
  const Metric metric_;
};

// The series of every sink; none when the metric is filtered out.
class AllSeries final : public MetricSeries {
 public:
  void add(std::unique_ptr<MetricSeries> one) { all_.push_back(std::move(one)); }
  void put(double value) override {
    for (const auto& one : all_) {
      one->put(value);
    }
  }

 private:
  std::vector<std::unique_ptr<MetricSeries>> all_;
};

class Registry final : public MetricsRegistry {
 public:
  Registry(Options options, Deps deps) : options_(std::move(options)), log_(deps.log) {
    const TelemetryConfig& config = options_.config;
    prefix_ = config.metric_prefix.empty() ? options_.service_name : config.metric_prefix;
    for (const StatsdConfig& sink : config.dog_statsd) {
      sinks_.push_back(
          make_statsd_sink(StatsdDialect::kDogStatsd, sink.address, deps.loop, deps.workers, log_));
    }
    if (config.in_mem) {
      auto sink = make_memory_sink(deps.loop.clock());
      memory_ = sink.get();
      sinks_.push_back(std::move(sink));
    }
    if (config.prometheus) {
      auto sink = make_prometheus_sink(log_);
      prometheus_ = sink.get();
      sinks_.push_back(std::move(sink));
    }
    for (const StatsdConfig& sink : config.statsd) {
      sinks_.push_back(
          make_statsd_sink(StatsdDialect::kStatsd, sink.address, deps.loop, deps.workers, log_));
    }
  }

  using Metrics::count;
  using Metrics::gauge;
  using Metrics::sample;

  bool enabled() const override { return !sinks_.empty(); }
  void count(std::string_view key, double by, MetricLabels labels) override {
    emit(key, by, labels, &MetricSink::count);
  }
  void gauge(std::string_view key, double value, MetricLabels labels) override {
    emit(key, value, labels, &MetricSink::gauge);
  }
  void sample(std::string_view key, double value, MetricLabels labels) override {
    emit(key, value, labels, &MetricSink::sample);
  }

  std::unique_ptr<MetricSeries> counter(std::string_view key, MetricLabels labels) override {
    return series(key, labels, &MetricSink::counter);
  }
  std::unique_ptr<MetricSeries> sampler(std::string_view key, MetricLabels labels) override {
    return series(key, labels, &MetricSink::sampler);
  }

  std::string prometheus_page() override {
    return prometheus_ == nullptr ? std::string() : prometheus_->page();
  }
  void dump_in_memory() override {
    if (memory_ != nullptr) {
      memory_->dump(log_);
    }
  }

 private:
  void emit(std::string_view key, double value, MetricLabels labels,
            void (MetricSink::*send)(const Metric&)) {
    if (sinks_.empty()) {
      return;
    }
    if (std::optional<Metric> metric = make_metric(key, labels)) {
      metric->value = value;
      for (const auto& sink : sinks_) {
        (sink.get()->*send)(*metric);
      }
    }
  }

  std::unique_ptr<MetricSeries> series(
      std::string_view key, MetricLabels labels,
      std::unique_ptr<MetricSeries> (MetricSink::*look_up)(Metric)) {
    auto all = std::make_unique<AllSeries>();
    if (std::optional<Metric> metric = make_metric(key, labels)) {
      for (const auto& sink : sinks_) {
        all->add((sink.get()->*look_up)(*metric));
      }
    }
    return all;
  }

  // With prefix and labels as they go out; nullopt when the filters drop it.
  std::optional<Metric> make_metric(std::string_view key, MetricLabels labels) const {
    Metric metric{prefix_.empty() ? std::string(key) : prefix_ + "." + std::string(key), 0, {}};
    if (!allowed(metric.key)) {
      return std::nullopt;
    }
    metric.labels.reserve(labels.size() + 2);
    for (const MetricLabel& label : labels) {
      add_label(metric.labels, sanitize_metric_label(label.name),
                sanitize_metric_label(label.value));
    }
    if (options_.config.enable_trust_domain_label) {
      add_label(metric.labels, "trust_domain", sanitize_metric_label(options_.trust_domain));
    }
    if (options_.config.enable_hostname_label && !options_.host_name.empty()) {
      add_label(metric.labels, "host", options_.host_name);
    }
    return metric;
  }

  void add_label(Labels& labels, std::string name, std::string value) const {
    auto has = [&name](const std::vector<std::string>& list) {
      return std::find(list.begin(), list.end(), name) != list.end();
    };
    const TelemetryConfig& config = options_.config;
    if (!has(config.blocked_labels) && (!config.allowed_labels || has(*config.allowed_labels))) {
      labels.emplace_back(std::move(name), std::move(value));
    }
  }

  // The longest prefix that matches decides; of two equal ones the blocked one.
  bool allowed(std::string_view key) const {
    auto longest = [key](const std::vector<std::string>& prefixes) {
      std::ptrdiff_t length = -1;
      for (const std::string& prefix : prefixes) {
        if (key.starts_with(prefix)) {
          length = std::max(length, static_cast<std::ptrdiff_t>(prefix.size()));
        }
      }
      return length;
    };
    std::ptrdiff_t blocked = longest(options_.config.blocked_prefixes);
    return blocked < 0 || longest(options_.config.allowed_prefixes) > blocked;
  }

  const Options options_;
  const Logger log_;
  std::string prefix_;
  std::vector<std::unique_ptr<MetricSink>> sinks_;
  PrometheusSink* prometheus_ = nullptr;
  MemorySink* memory_ = nullptr;
};

}  // namespace

std::unique_ptr<MetricSeries> MetricSink::counter(Metric metric) {
  return std::make_unique<SinkSeries>(*this, &MetricSink::count, std::move(metric));
}
std::unique_ptr<MetricSeries> MetricSink::sampler(Metric metric) {
  return std::make_unique<SinkSeries>(*this, &MetricSink::sample, std::move(metric));
}

Result<std::unique_ptr<MetricsRegistry>> MetricsRegistry::create(Options options, Deps deps) {
  TRY(check_telemetry(options.config));
  return std::unique_ptr<MetricsRegistry>(
      std::make_unique<Registry>(std::move(options), std::move(deps)));
}

std::string local_host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data())
                                                          : std::string();
}

}  // namespace steeple
