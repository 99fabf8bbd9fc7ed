// SPDX-License-Identifier: Apache-2.0

// Numbers as Go reads them.

#include "lib/gotemplate/number.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

bool alnum(char c) { return is_letter(c) || is_digit(c); }

// Underscores stand between digits, or between a base prefix and a digit.
bool underscores_ok(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    text.remove_prefix(1);
  }
  char last = '^';
  bool hex = false;
  if (text.size() >= 2 && text[0] == '0') {
    char base = static_cast<char>(text[1] | 0x20);
    if (base == 'b' || base == 'o' || base == 'x') {
      last = '0';
      hex = base == 'x';
      text.remove_prefix(2);
    }
  }
  for (char c : text) {
    bool digit = (c >= '0' && c <= '9') || (hex && (c | 0x20) >= 'a' && (c | 0x20) <= 'f');
    if (digit) {
      last = '0';
    } else if (c == '_') {
      if (last != '0') {
        return false;
      }
      last = '_';
    } else {
      if (last == '_') {
        return false;
      }
      last = '!';
    }
  }
  return last != '_';
}

std::string without_underscores(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c != '_') {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
  std::string_view whole = text;
  int base = 10;
  if (text.size() >= 1 && text[0] == '0') {
    char prefix = text.size() >= 3 ? static_cast<char>(text[1] | 0x20) : ' ';
    base = prefix == 'b' ? 2 : prefix == 'o' ? 8 : prefix == 'x' ? 16 : 8;
    text.remove_prefix(prefix == 'b' || prefix == 'o' || prefix == 'x' ? 2 : 1);
    if (text.empty()) {
      return 0;
    }
  }
  bool underscores = text.find('_') != std::string_view::npos;
  std::string digits = without_underscores(text);
  std::uint64_t value = 0;
  auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (failure != std::errc() || end != digits.data() + digits.size() || digits.empty() ||
      (underscores && !underscores_ok(whole))) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::int64_t> parse_signed(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  std::optional<std::uint64_t> value = parse_unsigned(text);
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 63;
  if (!value || (negative ? *value > kLimit : *value >= kLimit)) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(negative ? 0 - *value : *value);
}

std::optional<double> parse_float(std::string_view text) {
  if (text.find('_') != std::string_view::npos && !underscores_ok(text)) {
    return std::nullopt;
  }
  std::string plain = without_underscores(text);
  std::string_view digits = plain;
  bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) {
    digits.remove_prefix(1);
  }
  bool hex = digits.starts_with("0x") || digits.starts_with("0X");
  if (hex) {
    digits.remove_prefix(2);
    if (digits.find_first_of("pP") == std::string_view::npos) {
      return std::nullopt;  // an exponent is a must
    }
  } else if (text.find('_') != std::string_view::npos) {
    return std::nullopt;  // underscores need a base prefix here
  }
  if (digits.empty() || !(alnum(digits[0]) || digits[0] == '.') || (!hex && is_letter(digits[0]))) {
    return std::nullopt;
  }
  double value = 0;
  auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                        hex ? std::chars_format::hex : std::chars_format::general);
  if (end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  if (failure == std::errc::result_out_of_range) {
    value = std::strtod(std::string(hex ? "0x" : "").append(digits).c_str(), nullptr);
    if (std::isinf(value)) {
      return std::nullopt;
    }
  } else if (failure != std::errc()) {
    return std::nullopt;
  }
  return negative ? -value : value;
}

Result<void> read_character(Node& node) {
  bool multibyte = false;
  std::string_view tail;
  std::string_view text = node.text;
  Rune rune = TRY(unquote_char(text.substr(1), '\'', &multibyte, &tail));
  if (tail != "'") {
    return invalid_argument("malformed character constant: " + node.text);
  }
  node.integer = rune;
  node.unsigned_integer = static_cast<std::uint64_t>(rune);
  node.floating = rune;
  node.is_int = node.is_uint = node.is_float = true;
  return {};
}

Result<void> read_number(Node& node) {
  std::string_view text = node.text;
  if (auto value = parse_unsigned(text)) {
    node.is_uint = true;
    node.unsigned_integer = *value;
  }
  if (auto value = parse_signed(text)) {
    node.is_int = true;
    node.integer = *value;
    node.is_uint = node.is_uint || *value == 0;  // -0
  }
  if (node.is_int) {
    node.is_float = true;
    node.floating = static_cast<double>(node.integer);
    return {};
  }
  if (node.is_uint) {
    node.is_float = true;
    node.floating = static_cast<double>(node.unsigned_integer);
    return {};
  }
  std::optional<double> value = parse_float(text);
  if (!value) {
    return invalid_argument("illegal number syntax: " + quote(text));
  }
  if (text.find_first_of(".eEpP") == std::string_view::npos) {
    return invalid_argument("integer overflow: " + quote(text));
  }
  node.is_float = true;
  node.floating = *value;
  if (*value >= -9223372036854775808.0 && *value < 9223372036854775808.0 &&
      std::trunc(*value) == *value) {
    node.is_int = true;
    node.integer = static_cast<std::int64_t>(*value);
  }
  if (*value >= 0 && *value < 18446744073709551616.0 && std::trunc(*value) == *value) {
    node.is_uint = true;
    node.unsigned_integer = static_cast<std::uint64_t>(*value);
  }
  return {};
}

}  // namespace steeple::gotemplate
