// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace steeple {
namespace {

constexpr std::array<std::string_view, 7> kLevelNames = {"panic", "fatal", "error", "warning",
                                                         "info",  "debug", "trace"};

}  // namespace

Result<LogLevel> parse_log_level(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (lower == "warn") {
    return LogLevel::kWarn;
  }
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (lower == kLevelNames[i]) {
      return static_cast<LogLevel>(i);
    }
  }
  return invalid_argument(fmt::format("not a valid logrus Level: \"{}\"", text));
}

std::string_view log_level_name(LogLevel level) {
  return kLevelNames.at(static_cast<std::size_t>(level));
}

Logger::Logger(std::shared_ptr<LogSink> sink, Clock& clock, LogLevel level)
    : core_(std::make_shared<Core>(std::move(sink), &clock, level, level)) {}

Logger Logger::with(LogField field) const {
  if (!core_) {
    return *this;
  }
  Logger out = *this;
  auto fields = fields_ ? *fields_ : std::vector<LogField>();
  fields.push_back(std::move(field));
  out.fields_ = std::make_shared<const std::vector<LogField>>(std::move(fields));
  return out;
}

void Logger::write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields,
                   std::source_location where) const {
  if (!core_) {
    return;
  }
  LogEntry entry{core_->clock->now(), level, message, {}, where};
  entry.fields.reserve((fields_ ? fields_->size() : 0) + fields.size());
  auto add = [&entry](const LogField& field) {
    auto same = std::find_if(entry.fields.begin(), entry.fields.end(),
                             [&](const LogField* other) { return other->key == field.key; });
    if (same == entry.fields.end()) {
      entry.fields.push_back(&field);
    } else {
      *same = &field;
    }
  };
  if (fields_) {
    std::for_each(fields_->begin(), fields_->end(), add);
  }
  std::for_each(fields.begin(), fields.end(), add);
  core_->sink->write(entry);
}

LogLevel Logger::level() const {
  return core_ ? core_->level.load(std::memory_order_relaxed) : LogLevel::kPanic;
}
LogLevel Logger::launch_level() const { return core_ ? core_->launch_level : LogLevel::kPanic; }
void Logger::set_level(LogLevel level) const {
  if (core_) {
    core_->level.store(level, std::memory_order_relaxed);
  }
}
void Logger::reset_level() const { set_level(launch_level()); }
Result<void> Logger::reopen() const { return core_ ? core_->sink->reopen() : Result<void>(); }

}  // namespace steeple
