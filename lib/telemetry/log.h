// SPDX-License-Identifier: Apache-2.0

// Logs in SPIRE's layouts (logrus text and JSON). Logger is a value: a shared output plus the
// fields it adds to each line; `with` makes a new one. LOG_* evaluate nothing when the level is
// off. A default Logger discards. All calls are thread safe; a line is written before the call
// returns, but a reader that stalls (a full pipe) costs at most kLogStallMax, then lines are
// dropped and counted until it reads again.
//
//   LOG_INFO(log, "Server stopped gracefully");
//   LOG_ERROR(log, "Agent is not attested", {"caller_id", id.text()}, {"error", error});

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/result.h"

namespace steeple {

inline constexpr auto kLogStallMax = std::chrono::milliseconds(100);

// In logrus's order: a lower number is more severe.
enum class LogLevel : std::uint8_t { kPanic, kFatal, kError, kWarn, kInfo, kDebug, kTrace };

// logrus's names, any case: panic fatal error warn|warning info debug trace.
Result<LogLevel> parse_log_level(std::string_view text);
std::string_view log_level_name(LogLevel level);  // "warning" for kWarn

struct LogField {
  using Value = std::variant<std::string, std::int64_t, std::uint64_t, double, bool>;

  LogField(std::string_view field_key, std::string text) : key(field_key), value(std::move(text)) {}
  LogField(std::string_view field_key, std::string_view text)
      : key(field_key), value(std::string(text)) {}
  LogField(std::string_view field_key, const char* text)
      : key(field_key), value(std::string(text)) {}
  LogField(std::string_view field_key, const Error& error) : key(field_key), value(error.message) {}
  LogField(std::string_view field_key, bool flag) : key(field_key), value(flag) {}
  template <class N>
    requires std::is_arithmetic_v<N>
  LogField(std::string_view field_key, N number) : key(field_key), value(widen(number)) {}

  std::string key;
  Value value;

 private:
  template <class N>
  static Value widen(N number) {
    if constexpr (std::is_floating_point_v<N>) {
      return static_cast<double>(number);
    } else if constexpr (std::is_signed_v<N>) {
      return static_cast<std::int64_t>(number);
    } else {
      return static_cast<std::uint64_t>(number);
    }
  }
};

struct LogEntry {
  WallTime time;
  LogLevel level = LogLevel::kInfo;
  std::string_view message;
  // Of the Logger, then of the call; a later key replaces an earlier one. Unsorted.
  std::vector<const LogField*> fields;
  std::source_location where;
};

// Where lines go. Thread safe.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(const LogEntry& entry) = 0;
  // For log rotation; no effect unless it is a file.
  virtual Result<void> reopen() = 0;
};

class Logger {
 public:
  Logger() = default;  // discards
  Logger(std::shared_ptr<LogSink> sink, Clock& clock, LogLevel level);

  Logger with(LogField field) const;
  Logger subsystem(std::string_view name) const { return with({"subsystem_name", name}); }

  bool enabled(LogLevel level) const {
    return core_ && level <= core_->level.load(std::memory_order_relaxed);
  }
  // Writes whatever the level; LOG_* ask `enabled` first.
  void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {},
             std::source_location where = std::source_location::current()) const;

  // The level of the output, shared by all Loggers on it (Logger API, `logger set`).
  LogLevel level() const;
  LogLevel launch_level() const;
  void set_level(LogLevel level) const;
  void reset_level() const;
  Result<void> reopen() const;

 private:
  struct Core {
    std::shared_ptr<LogSink> sink;
    Clock* clock;
    LogLevel launch_level;
    std::atomic<LogLevel> level;
  };

  std::shared_ptr<Core> core_;
  std::shared_ptr<const std::vector<LogField>> fields_;
};

}  // namespace steeple

#define LOG_AT(logger, at_level, message, ...)             \
  do {                                                     \
    const ::steeple::Logger& log_target_ = (logger);       \
    if (log_target_.enabled(at_level)) {                   \
      log_target_.write(at_level, message, {__VA_ARGS__}); \
    }                                                      \
  } while (false)

#define LOG_ERROR(logger, message, ...) \
  LOG_AT(logger, ::steeple::LogLevel::kError, message __VA_OPT__(, ) __VA_ARGS__)
#define LOG_WARN(logger, message, ...) \
  LOG_AT(logger, ::steeple::LogLevel::kWarn, message __VA_OPT__(, ) __VA_ARGS__)
#define LOG_INFO(logger, message, ...) \
  LOG_AT(logger, ::steeple::LogLevel::kInfo, message __VA_OPT__(, ) __VA_ARGS__)
#define LOG_DEBUG(logger, message, ...) \
  LOG_AT(logger, ::steeple::LogLevel::kDebug, message __VA_OPT__(, ) __VA_ARGS__)
#define LOG_TRACE(logger, message, ...) \
  LOG_AT(logger, ::steeple::LogLevel::kTrace, message __VA_OPT__(, ) __VA_ARGS__)
