// SPDX-License-Identifier: Apache-2.0

#include "lib/base/clock.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>

namespace steeple {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

class SystemClock final : public Clock {
 public:
  WallTime now() const override {
    return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  }
  SteadyTime steady() const override {
    return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now());
  }
};

struct Unit {
  std::string_view name;
  double nanos;
};
// Longer names first: "ms" must not be read as "m".
constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                         {"us", 1e3},
                                         {"µs", 1e3},
                                         {"μs", 1e3},
                                         {"ms", 1e6},
                                         {"s", 1e9},
                                         {"m", 60e9},
                                         {"h", 3600e9}}};

Error bad_duration(std::string_view text) {
  return invalid_argument(fmt::format("time: invalid duration \"{}\"", text));
}

std::string fraction(std::int64_t value, std::int64_t unit) {
  std::string digits = fmt::format("{}.{:0{}}", value / unit, value % unit,
                                   static_cast<int>(std::lround(std::log10(unit))));
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.ends_with('.')) {
    digits.pop_back();
  }
  return digits;
}

struct Civil {
  std::chrono::year_month_day date;
  std::chrono::hh_mm_ss<seconds> time;
};

Civil civil(WallTime time) {
  auto whole = std::chrono::floor<seconds>(time);
  auto day = std::chrono::floor<std::chrono::days>(whole);
  return {std::chrono::year_month_day(day), std::chrono::hh_mm_ss<seconds>(whole - day)};
}

std::string format_civil(WallTime time, std::string_view between, std::string_view after) {
  auto [date, clock] = civil(time);
  return fmt::format("{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     between, clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count(), after);
}

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

std::string format_go_utc(WallTime time) { return format_civil(time, " ", " +0000 UTC"); }
std::string format_rfc3339(WallTime time) { return format_civil(time, "T", "Z"); }

Result<Duration> parse_go_duration(std::string_view text) {
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) {
    rest.remove_prefix(1);
  }
  if (rest == "0") {
    return Duration(0);
  }
  if (rest.empty()) {
    return bad_duration(text);
  }
  double total = 0;
  while (!rest.empty()) {
    std::size_t digits = rest.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos || digits > 24) {
      return digits == std::string_view::npos
                 ? invalid_argument(fmt::format("time: missing unit in duration \"{}\"", text))
                 : bad_duration(text);
    }
    std::string number(rest.substr(0, digits));
    if (number == "." || std::count(number.begin(), number.end(), '.') > 1) {
      return bad_duration(text);
    }
    rest.remove_prefix(digits);
    const Unit* found = nullptr;
    for (const Unit& unit : kUnits) {
      if (rest.starts_with(unit.name)) {
        found = &unit;
        break;
      }
    }
    if (found == nullptr) {
      return invalid_argument(fmt::format("time: unknown unit \"{}\" in duration \"{}\"",
                                          rest.substr(0, rest.find_first_of("0123456789.")), text));
    }
    rest.remove_prefix(found->name.size());
    total += std::strtod(number.c_str(), nullptr) * found->nanos;
  }
  if (total >= static_cast<double>(std::numeric_limits<std::int64_t>::max())) {
    return bad_duration(text);
  }
  auto nanos = static_cast<std::int64_t>(std::llround(total));
  return Duration(negative ? -nanos : nanos);
}

std::string format_go_duration(Duration duration) {
  std::int64_t nanos = duration.count();
  if (nanos == 0) {
    return "0s";
  }
  std::string sign = nanos < 0 ? "-" : "";
  nanos = std::abs(nanos);
  if (nanos < 1'000) {
    return fmt::format("{}{}ns", sign, nanos);
  }
  if (nanos < 1'000'000) {
    return fmt::format("{}{}µs", sign, fraction(nanos, 1'000));
  }
  if (nanos < 1'000'000'000) {
    return fmt::format("{}{}ms", sign, fraction(nanos, 1'000'000));
  }
  std::int64_t minute = 60'000'000'000;
  std::string out = sign;
  if (nanos >= 60 * minute) {
    out += fmt::format("{}h", nanos / (60 * minute));
  }
  if (nanos >= minute) {
    out += fmt::format("{}m", nanos / minute % 60);
  }
  return out + fraction(nanos % minute, 1'000'000'000) + "s";
}

}  // namespace steeple
