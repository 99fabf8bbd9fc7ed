// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/time_text.h"

#include <fmt/format.h>

#include <chrono>

namespace steeple::server {
namespace {

constexpr std::int64_t kDaySeconds = 86'400;
constexpr std::int64_t kFirstSecond = -62'167'219'200;  // 0000-01-01
constexpr std::int64_t kLastSecond = 253'402'300'799;   // 9999-12-31

std::string format(std::int64_t unix_seconds, std::int64_t nanoseconds) {
  std::int64_t day = unix_seconds / kDaySeconds;
  std::int64_t second = unix_seconds % kDaySeconds;
  if (second < 0) {
    --day;
    second += kDaySeconds;
  }
  std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(day))};
  std::string text =
      fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  second / 3600, second / 60 % 60, second % 60);
  if (nanoseconds != 0) {
    text += fmt::format(".{:09}", nanoseconds);
    text.resize(text.find_last_not_of('0') + 1);
  }
  return text + "+00:00";
}

// Reads a fixed form from the front of `rest`.
class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}
  bool done() const { return rest_.empty(); }
  bool skip(char c) {
    if (rest_.empty() || rest_.front() != c) {
      return false;
    }
    rest_.remove_prefix(1);
    return true;
  }
  bool digits(std::size_t count, int& out) {
    if (rest_.size() < count) {
      return false;
    }
    out = 0;
    for (char c : rest_.substr(0, count)) {
      if (c < '0' || c > '9') {
        return false;
      }
      out = out * 10 + (c - '0');
    }
    rest_.remove_prefix(count);
    return true;
  }
  // ".123": 1 to 9 digits.
  bool fraction(std::int32_t& nanoseconds) {
    int scale = 100'000'000;
    int digit = 0;
    while (scale > 0 && digits(1, digit)) {
      nanoseconds += digit * scale;
      scale /= 10;
    }
    return scale < 100'000'000;
  }

 private:
  std::string_view rest_;
};

bool parse_clock(Reader& in, TimeValue& value) {
  int hour = 0;
  int minute = 0;
  int second = 0;
  if (!in.digits(2, hour) || !in.skip(':') || !in.digits(2, minute)) {
    return false;
  }
  if (in.skip(':') && !in.digits(2, second)) {
    return false;
  }
  if (in.skip('.') && !in.fraction(value.nanoseconds)) {
    return false;
  }
  value.seconds += hour * 3600 + minute * 60 + second;
  return hour < 24 && minute < 60 && second < 61;
}

bool parse_zone(Reader& in, TimeValue& value) {
  if (in.done() || (in.skip('Z') && in.done())) {
    return true;
  }
  bool east = in.skip('+');
  int hour = 0;
  int minute = 0;
  if ((!east && !in.skip('-')) || !in.digits(2, hour) || !in.skip(':') || !in.digits(2, minute)) {
    return false;
  }
  std::int64_t offset = hour * 3600 + minute * 60;
  value.seconds += east ? -offset : offset;
  return in.done() && hour < 24 && minute < 60;
}

}  // namespace

std::string time_text(WallTime time) {
  auto seconds = to_unix_seconds(time);
  auto rest = time.time_since_epoch() - std::chrono::seconds(seconds);
  return format(seconds, rest.count());
}

Result<std::string> time_text(std::int64_t unix_seconds) {
  if (unix_seconds < kFirstSecond || unix_seconds > kLastSecond) {
    return invalid_argument(fmt::format("time {} is out of range", unix_seconds));
  }
  return format(unix_seconds, 0);
}

Result<TimeValue> parse_time_text(std::string_view text) {
  Reader in(text);
  TimeValue value;
  int year = 0;
  int month = 0;
  int day = 0;
  bool good = in.digits(4, year) && in.skip('-') && in.digits(2, month) && in.skip('-') &&
              in.digits(2, day);
  std::chrono::year_month_day date{std::chrono::year(year),
                                   std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  good = good && date.ok();
  if (good) {
    value.seconds = std::chrono::sys_days(date).time_since_epoch().count() * kDaySeconds;
    if (in.skip(' ') || in.skip('T')) {
      good = parse_clock(in, value);
    }
    good = good && parse_zone(in, value);
  }
  if (!good) {
    return invalid_argument(fmt::format("\"{}\" is no time", text.substr(0, 64)));
  }
  return value;
}

}  // namespace steeple::server
