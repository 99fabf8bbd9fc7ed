// SPDX-License-Identifier: Apache-2.0

// go-metrics' InmemSink: per second, the last value of gauges and the aggregates of counters and
// samples. The present second is still filling and is not dumped.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>

#include "lib/base/guarded.h"
#include "lib/telemetry/metric_sink.h"

namespace steeple {
namespace {

constexpr std::size_t kIntervalsMax = 3600;
constexpr std::size_t kValuesMax = 50'000;  // over all intervals: bounds the memory

struct Aggregate {
  std::int64_t count = 0;
  double sum = 0;
  double square_sum = 0;
  double min = 0;
  double max = 0;
  WallTime last;

  void take(double value, WallTime now) {
    min = count == 0 ? value : std::min(min, value);
    max = count == 0 ? value : std::max(max, value);
    ++count;
    sum += value;
    square_sum += value * value;
    last = now;
  }
  double deviation() const {
    auto n = static_cast<double>(count);
    double over = n * (n - 1);
    return over == 0 ? 0 : std::sqrt(std::max(0.0, n * square_sum - sum * sum) / over);
  }
  std::string text() const {
    std::string updated = format_go_utc(last);
    if (deviation() == 0) {
      return fmt::format("Count: {} Sum: {:.3f} LastUpdated: {}", count, sum, updated);
    }
    return fmt::format(
        "Count: {} Min: {:.3f} Mean: {:.3f} Max: {:.3f} Stddev: {:.3f} Sum: {:.3f} LastUpdated: {}",
        count, min, sum / static_cast<double>(count), max, deviation(), sum, updated);
  }
};

struct Interval {
  WallTime start;
  std::map<std::string, double> gauges;
  std::map<std::string, Aggregate> counters;
  std::map<std::string, Aggregate> samples;

  std::size_t size() const { return gauges.size() + counters.size() + samples.size(); }
};

// The name with the labels' values, as the dump shows it.
std::string flat_name(const Metric& metric) {
  std::string out = metric.key;
  for (const auto& [name, value] : metric.labels) {
    out += '.' + value;
  }
  std::replace_if(out.begin(), out.end(), [](char c) { return c == ' ' || c == ':'; }, '_');
  return out;
}

class Sink final : public MemorySink {
 public:
  explicit Sink(Clock& clock) : clock_(clock) {}

  void count(const Metric& metric) override {
    auto state = state_.lock();
    current(*state).counters[flat_name(metric)].take(metric.value, clock_.now());
  }
  void gauge(const Metric& metric) override {
    auto state = state_.lock();
    current(*state).gauges[flat_name(metric)] = metric.value;
  }
  void sample(const Metric& metric) override {
    auto state = state_.lock();
    current(*state).samples[flat_name(metric)].take(metric.value, clock_.now());
  }

  void dump(const Logger& log) override {
    std::deque<Interval> finished;
    {
      auto state = state_.lock();
      current(*state);
      finished.assign(state->intervals.begin(), std::prev(state->intervals.end()));
    }
    for (const Interval& interval : finished) {
      std::string at = format_go_utc(interval.start);
      for (const auto& [name, value] : interval.gauges) {
        LOG_INFO(log, fmt::format("[{}][G] '{}': {:.3f}", at, name, value));
      }
      for (const auto& [name, total] : interval.counters) {
        LOG_INFO(log, fmt::format("[{}][C] '{}': {}", at, name, total.text()));
      }
      for (const auto& [name, total] : interval.samples) {
        LOG_INFO(log, fmt::format("[{}][S] '{}': {}", at, name, total.text()));
      }
    }
  }

 private:
  struct State {
    std::deque<Interval> intervals;
    std::size_t finished_values = 0;
  };

  Interval& current(State& state) {
    WallTime now = truncate_to_seconds(clock_.now());
    if (!state.intervals.empty() && state.intervals.back().start == now) {
      return state.intervals.back();
    }
    if (!state.intervals.empty()) {
      state.finished_values += state.intervals.back().size();
    }
    while (!state.intervals.empty() &&
           (state.intervals.size() >= kIntervalsMax || state.finished_values > kValuesMax)) {
      state.finished_values -= state.intervals.front().size();
      state.intervals.pop_front();
    }
    return state.intervals.emplace_back(Interval{now, {}, {}, {}});
  }

  Clock& clock_;
  Guarded<State> state_;
};

}  // namespace

std::unique_ptr<MemorySink> make_memory_sink(Clock& clock) { return std::make_unique<Sink>(clock); }

}  // namespace steeple
