// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/trace.h"

#include <fmt/chrono.h>

#include <cstdio>

namespace steeple::simulation {
namespace {

std::string stamp_of(const Clock& clock) {
  using namespace std::chrono;
  auto since = duration_cast<milliseconds>(clock.steady().time_since_epoch()).count();
  return fmt::format("{:2}d {:02}:{:02}:{:02}.{:03} ", since / 86'400'000, since / 3'600'000 % 24,
                     since / 60'000 % 60, since / 1000 % 60, since % 1000);
}

class PrintingSink final : public LogSink {
 public:
  PrintingSink(std::string process, const Clock& clock)
      : process_(std::move(process)), clock_(clock) {}
  void write(const LogEntry& entry) override {
    std::string line = fmt::format("{}   [{}] {} {}", stamp_of(clock_), process_,
                                   log_level_name(entry.level), entry.message);
    for (const LogField* field : entry.fields) {
      std::visit([&](const auto& value) { line += fmt::format(" {}={}", field->key, value); },
                 field->value);
    }
    std::puts(line.c_str());
  }
  Result<void> reopen() override { return {}; }

 private:
  const std::string process_;
  const Clock& clock_;
};

}  // namespace

std::string Trace::stamp() const { return stamp_of(clock_); }

Logger Trace::logger(const std::string& process, Clock& clock) const {
  if (!verbose_) {
    return {};
  }
  return Logger(std::make_shared<PrintingSink>(process, clock), clock, LogLevel::kDebug);
}

void Trace::add(const std::string& text) {
  ++events_;
  auto mix = [this](std::uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001b3ULL; };
  mix(static_cast<std::uint64_t>(clock_.steady().time_since_epoch().count()));
  for (char c : text) {
    mix(static_cast<unsigned char>(c));
  }
  if (verbose_) {
    std::puts((stamp() + text).c_str());
  }
}

}  // namespace steeple::simulation
