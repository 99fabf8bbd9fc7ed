// SPDX-License-Identifier: Apache-2.0

// DNS names of certificates (entry_validation.h): RFC 1123 labels, and where a wildcard may stand.

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "server/registration/entry_validation.h"

namespace steeple::server {
namespace {

constexpr std::size_t kNameBytesMax = 253;  // RFC 1035 section 2.3.4, without the root
constexpr std::size_t kLabelBytesMax = 63;
constexpr std::string_view kAcePrefix = "xn--";

Error bad_label(std::string_view label) {
  return invalid_argument(fmt::format("idna error\nidna: invalid label \"{}\"", label));
}

bool good_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

// RFC 3492 section 6.1.
std::uint32_t adapt(std::uint32_t delta, std::uint32_t points, bool first) {
  delta = first ? delta / 700 : delta / 2;
  delta += delta / points;
  std::uint32_t k = 0;
  for (; delta > 455; k += 36) {
    delta /= 35;
  }
  return k + 36 * delta / (delta + 38);
}

int digit_of(char c) {
  if (c >= 'a' && c <= 'z') {
    return c - 'a';
  }
  if (c >= '0' && c <= '9') {
    return c - '0' + 26;
  }
  return -1;
}

// Reads one generalised variable-length integer (RFC 3492 section 3.3) onto `i`.
bool read_integer(std::string_view& in, std::uint32_t bias, std::uint32_t& i) {
  constexpr std::uint32_t kMax = std::numeric_limits<std::int32_t>::max();
  std::uint64_t weight = 1;
  for (std::uint32_t k = 36;; k += 36) {
    if (in.empty()) {
      return false;
    }
    int digit = digit_of(in.front());
    in.remove_prefix(1);
    if (digit < 0) {
      return false;
    }
    std::uint64_t sum = i + static_cast<std::uint64_t>(digit) * weight;
    if (sum > kMax) {
      return false;
    }
    i = static_cast<std::uint32_t>(sum);
    std::uint32_t t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
    if (static_cast<std::uint32_t>(digit) < t) {
      return true;
    }
    weight *= 36 - t;
    if (weight > kMax) {
      return false;
    }
  }
}

// Whether the part after "xn--" decodes to a label that needed encoding (RFC 3492 section 6.2).
bool valid_punycode(std::string_view text) {
  std::size_t points = 0;
  if (auto dash = text.rfind('-'); dash != std::string_view::npos) {
    points = dash;
    text.remove_prefix(dash + 1);
  }
  if (text.empty()) {
    return false;
  }
  std::uint32_t n = 128;
  std::uint32_t i = 0;
  std::uint32_t bias = 72;
  while (!text.empty()) {
    std::uint32_t before = i;
    if (!read_integer(text, bias, i)) {
      return false;
    }
    ++points;
    auto count = static_cast<std::uint32_t>(points);
    bias = adapt(i - before, count, before == 0);
    n += i / count;
    i = i % count + 1;
    // C1 controls, surrogates and what lies beyond Unicode.
    if (n < 0xA1 || (n >= 0xD800 && n <= 0xDFFF) || n > 0x10FFFF) {
      return false;
    }
  }
  return true;
}

Result<void> validate_label(std::string_view label) {
  if (label.empty() || label.size() > kLabelBytesMax || label.front() == '-' ||
      label.back() == '-' || !std::all_of(label.begin(), label.end(), good_character)) {
    return bad_label(label);
  }
  if (label.starts_with(kAcePrefix)) {
    return valid_punycode(label.substr(kAcePrefix.size())) ? Result<void>() : bad_label(label);
  }
  if (label.size() > 4 && label.substr(2, 2) == "--") {
    return bad_label(label);
  }
  return {};
}

Result<void> validate_plain(std::string_view name) {
  if (name.find_first_not_of(" \t\n\v\f\r") == std::string_view::npos) {
    return invalid_argument("empty or only whitespace");
  }
  if (name.ends_with('.')) {
    return invalid_argument("domain ends with dot");
  }
  if (name.size() > kNameBytesMax) {
    return bad_label(name);
  }
  for (;;) {
    auto dot = name.find('.');
    TRY(validate_label(name.substr(0, dot)));
    if (dot == std::string_view::npos) {
      return {};
    }
    name.remove_prefix(dot + 1);
  }
}

}  // namespace

Result<void> validate_dns_name(std::string_view name) {
  if (std::any_of(name.begin(), name.end(), [](char c) { return (c & 0x80) != 0; })) {
    return invalid_argument("name must be ascii");
  }
  auto stars = std::count(name.begin(), name.end(), '*');
  if (stars > 1) {
    return invalid_argument("too many wildcards");
  }
  if (stars == 1) {
    if (!name.starts_with("*.")) {
      return invalid_argument("wildcard must be first label");
    }
    name.remove_prefix(2);
  }
  return validate_plain(name);
}

Result<void> check_wildcard_overlap(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::size_t dot = name.find('.');
    if (name.starts_with("*.") || dot == std::string::npos) {
      continue;
    }
    std::string covering = "*" + name.substr(dot);
    if (std::ranges::find(names, covering) != names.end()) {
      return invalid_argument("wildcard overlap");
    }
  }
  return {};
}

}  // namespace steeple::server
