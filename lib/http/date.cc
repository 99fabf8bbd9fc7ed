// SPDX-License-Identifier: Apache-2.0

#include "lib/http/date.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace steeple::http {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

int number(std::string_view text) {
  int value = -1;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && end == text.data() + text.size() ? value : -1;
}

}  // namespace

std::string format_date(WallTime time) {
  auto whole = std::chrono::floor<std::chrono::seconds>(time);
  auto day = std::chrono::floor<std::chrono::days>(whole);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss clock(whole - day);
  return fmt::format(
      "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(day).c_encoding()],
      static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
      static_cast<int>(date.year()), clock.hours().count(), clock.minutes().count(),
      clock.seconds().count());
}

std::optional<WallTime> parse_date(std::string_view text) {
  constexpr std::string_view kShape = "Sun, 06 Nov 1994 08:49:37 GMT";
  if (text.size() != kShape.size()) {
    return std::nullopt;
  }
  auto* month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
  int year = number(text.substr(12, 4));
  if (month == kMonths.end() || year < 1678 || year > 2261) {  // what WallTime can hold
    return std::nullopt;
  }
  std::chrono::year_month_day date(
      std::chrono::year(year),
      std::chrono::month(static_cast<unsigned>(month - kMonths.begin()) + 1),
      std::chrono::day(static_cast<unsigned>(std::max(0, number(text.substr(5, 2))))));
  if (!date.ok()) {
    return std::nullopt;
  }
  WallTime time = std::chrono::sys_days(date) + std::chrono::hours(number(text.substr(17, 2))) +
                  std::chrono::minutes(number(text.substr(20, 2))) +
                  std::chrono::seconds(number(text.substr(23, 2)));
  // Whatever was out of range, or not as written here, gives another text.
  return format_date(time) == text ? std::optional(time) : std::nullopt;
}

}  // namespace steeple::http
