// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/fake_log.h"

#include <fmt/format.h>

namespace steeple {

class CapturedLog::Sink final : public LogSink {
 public:
  void write(const LogEntry& entry) override {
    Line line{entry.level, std::string(entry.message), {}};
    for (const LogField* field : entry.fields) {
      line.fields[field->key] = std::visit(
          [](const auto& value) -> std::string { return fmt::format("{}", value); }, field->value);
    }
    lines_.lock()->push_back(std::move(line));
  }
  Result<void> reopen() override { return {}; }

  Guarded<std::vector<Line>> lines_;
};

CapturedLog::CapturedLog(LogLevel level)
    : sink_(std::make_shared<Sink>()), logger_(sink_, clock_, level) {}

std::vector<CapturedLog::Line> CapturedLog::lines() const { return *sink_->lines_.lock(); }

std::vector<CapturedLog::Line> CapturedLog::lines(std::string_view message) const {
  std::vector<Line> out;
  for (Line& line : lines()) {
    if (line.message == message) {
      out.push_back(std::move(line));
    }
  }
  return out;
}

void CapturedLog::clear() { sink_->lines_.lock()->clear(); }

}  // namespace steeple
