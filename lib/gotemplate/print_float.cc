// SPDX-License-Identifier: Apache-2.0

// Floats as Go's strconv and fmt write them.

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "lib/gotemplate/print.h"

namespace steeple::gotemplate {

namespace {

// Digits and decimal exponent of scientific notation, for the choice that %g makes.
std::string scientific(double value, int precision, unsigned bits) {
  std::array<char, 1100> buffer{};
  char* begin = buffer.data();
  char* end = begin + buffer.size();
  std::to_chars_result done{};
  if (precision >= 0) {
    done =
        std::to_chars(begin, end, value, std::chars_format::scientific, std::min(precision, 1000));
  } else if (bits == 32) {
    done = std::to_chars(begin, end, static_cast<float>(value), std::chars_format::scientific);
  } else {
    done = std::to_chars(begin, end, value, std::chars_format::scientific);
  }
  return {begin, done.ptr};
}

}  // namespace

std::string with_point(std::string number, char verb, int precision) {
  std::size_t exponent = number.find_first_of("eE");
  std::string tail = exponent == std::string::npos ? "" : number.substr(exponent);
  number.resize(number.size() - tail.size());
  int digits = 0;
  if (verb == 'g' || verb == 'G') {
    digits = precision == -1 ? 6 : precision;
  }
  bool point = false;
  bool nonzero = false;
  for (std::size_t i = 1; i < number.size(); ++i) {
    if (number[i] == '.') {
      point = true;
      continue;
    }
    nonzero = nonzero || number[i] != '0';
    digits -= nonzero ? 1 : 0;
  }
  if (!point) {
    digits -= number.size() == 2 && number[1] == '0' ? 1 : 0;
    number += '.';
  }
  if (digits > 0) {
    number.append(static_cast<std::size_t>(digits), '0');
  }
  return number + tail;
}

std::string format_float(double value, char format, int precision, unsigned bits) {
  if (std::isnan(value)) {
    return "NaN";
  }
  if (std::isinf(value)) {
    return value < 0 ? "-Inf" : "+Inf";
  }
  bool upper = format == 'E' || format == 'G';
  char lower = upper ? static_cast<char>(format + 32) : format;
  bool shortest = precision < 0;
  if (lower == 'g') {
    int digits = shortest ? -1 : std::max(precision, 1);
    std::string text = scientific(value, digits < 0 ? -1 : digits - 1, bits);
    std::size_t mark = text.find('e');
    int exponent = std::atoi(text.c_str() + mark + 1);
    std::string mantissa = text.substr(0, mark);
    if (mantissa.find('.') != std::string::npos) {
      mantissa.resize(mantissa.find_last_not_of('0') + 1);
      mantissa.resize(mantissa.back() == '.' ? mantissa.size() - 1 : mantissa.size());
    }
    int count = 0;
    for (char c : mantissa) {
      count += c >= '0' && c <= '9' ? 1 : 0;
    }
    int threshold = digits;
    if (threshold > count && count >= exponent + 1) {
      threshold = count;
    }
    threshold = shortest ? 6 : threshold;
    int decimals = std::max(count - exponent - 1, 0);
    if (exponent < -4 || exponent >= threshold) {
      std::string out = mantissa + text.substr(mark);
      if (upper) {
        std::replace(out.begin(), out.end(), 'e', 'E');
      }
      return out;
    }
    if (bits == 32 && shortest) {
      std::array<char, 64> buffer{};
      auto done = std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                                static_cast<float>(value), std::chars_format::fixed);
      return {buffer.data(), done.ptr};
    }
    return fmt::format("{:.{}f}", value, decimals);
  }
  if (lower == 'e') {
    std::string out = scientific(value, precision, bits);
    if (upper) {
      std::replace(out.begin(), out.end(), 'e', 'E');
    }
    return out;
  }
  return shortest ? fmt::format("{:f}", value) : fmt::format("{:.{}f}", value, precision);
}

}  // namespace steeple::gotemplate
