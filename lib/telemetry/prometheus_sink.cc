// SPDX-License-Identifier: Apache-2.0

// The registry of prometheus-cpp behind MetricSink: names joined by '_', no _total, call times as
// summaries over ten seconds, as go-metrics' Prometheus sink makes them.

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>

#include "lib/base/guarded.h"
#include "lib/telemetry/metric_sink.h"
#include "lib/telemetry/metrics_registry.h"

namespace steeple {
namespace {

std::string flat_name(std::string_view key) {
  std::string out(key);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return std::string_view(" .=-/").contains(c); }, '_');
  return out;
}

class Sink final : public PrometheusSink {
 public:
  explicit Sink(Logger log) : log_(std::move(log)) {}

  void count(const Metric& metric) override { put(find_counter(metric), metric.value); }

  void gauge(const Metric& metric) override {
    auto* gauge = find<prometheus::Gauge>(metric, 'g', [](const std::string& name) {
      return prometheus::BuildGauge().Name(name).Help(name);
    });
    if (gauge != nullptr) {
      gauge->Set(metric.value);
    }
  }

  void sample(const Metric& metric) override { put(find_summary(metric), metric.value); }

  std::unique_ptr<MetricSeries> counter(Metric metric) override {
    return std::make_unique<Found<prometheus::Counter>>(find_counter(metric));
  }
  std::unique_ptr<MetricSeries> sampler(Metric metric) override {
    return std::make_unique<Found<prometheus::Summary>>(find_summary(metric));
  }

  std::string page() override {
    auto families = registry_.Collect();
    std::sort(families.begin(), families.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return prometheus::TextSerializer().Serialize(families) + process_metrics();
  }

 private:
  struct State {
    std::unordered_map<std::string, void*> series;
    bool warned = false;
  };

  static void put(prometheus::Counter* counter, double value) {
    if (counter != nullptr && value >= 0) {  // a counter never falls
      counter->Increment(value);
    }
  }
  static void put(prometheus::Summary* summary, double value) {
    if (summary != nullptr) {
      summary->Observe(value);
    }
  }

  // Series are never removed, so a found one stays.
  template <class M>
  class Found final : public MetricSeries {
   public:
    explicit Found(M* series) : series_(series) {}
    void put(double value) override { Sink::put(series_, value); }

   private:
    M* series_;
  };

  prometheus::Counter* find_counter(const Metric& metric) {
    return find<prometheus::Counter>(metric, 'c', [](const std::string& name) {
      return prometheus::BuildCounter().Name(name).Help(name);
    });
  }
  prometheus::Summary* find_summary(const Metric& metric) {
    static const prometheus::Summary::Quantiles kQuantiles = {
        {0.5, 0.05}, {0.9, 0.01}, {0.99, 0.001}};
    return find<prometheus::Summary>(
        metric, 's',
        [](const std::string& name) { return prometheus::BuildSummary().Name(name).Help(name); },
        kQuantiles, std::chrono::milliseconds(10'000), 5);
  }

  // The series, made on first use; null when it cannot be. Series are never removed, so the
  // pointer may be used without the lock.
  template <class M, class Build, class... Arguments>
  M* find(const Metric& metric, char kind, Build build, const Arguments&... arguments) {
    std::string id(1, kind);
    id += metric.key;
    for (const auto& [name, value] : metric.labels) {
      id.append(";").append(name).append("=").append(value);
    }
    auto state = state_.lock();
    auto [place, fresh] = state->series.try_emplace(std::move(id), nullptr);
    if (!fresh) {
      return static_cast<M*>(place->second);
    }
    if (state->series.size() > kMetricSeriesMax) {
      state->series.erase(place);
      complain(*state, "Too many metric series, dropping new ones", metric);
      return nullptr;
    }
    try {
      prometheus::Labels labels;
      for (const auto& [name, value] : metric.labels) {
        labels[name] = value;
      }
      M& made = build(flat_name(metric.key)).Register(registry_).Add(labels, arguments...);
      place->second = &made;
      return &made;
    } catch (const std::exception&) {
      // A name used as two kinds, or a label name that Prometheus does not know.
      complain(*state, "Metric cannot be exposed to Prometheus", metric);
      return nullptr;
    }
  }

  void complain(State& state, std::string_view what, const Metric& metric) {
    if (!std::exchange(state.warned, true)) {
      LOG_WARN(log_, what, {"metric", metric.key});
    }
  }

  const Logger log_;
  prometheus::Registry registry_;
  Guarded<State> state_;
};

}  // namespace

std::unique_ptr<PrometheusSink> make_prometheus_sink(Logger log) {
  return std::make_unique<Sink>(std::move(log));
}

}  // namespace steeple
