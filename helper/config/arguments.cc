// SPDX-License-Identifier: Apache-2.0

// Two small parsers of the configuration: the command's arguments and the signal's name.

#include <fmt/format.h>

#include <csignal>
#include <cstring>

#include "helper/config/helper_config.h"

namespace steeple::helper {
namespace {

constexpr std::size_t kArgumentsMax = 1024;

Error quote_error(std::size_t column, std::string_view what) {
  return invalid_argument(fmt::format("parse error on line 1, column {}: {}", column, what));
}

// The field in quotes that begins at `at`; leaves `at` behind it.
Result<std::string> quoted_field(std::string_view text, std::size_t& at) {
  std::string field;
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] != '"') {
      field += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == '"') {
      field += '"';
      ++i;
    } else if (i + 1 == text.size() || text[i + 1] == ' ') {
      at = i + 1;
      return field;
    } else {
      return quote_error(i + 1, "extraneous or missing \" in quoted-field");
    }
  }
  return quote_error(text.size() + 1, "extraneous or missing \" in quoted-field");
}

}  // namespace

Result<std::vector<std::string>> split_arguments(std::string_view text) {
  std::vector<std::string> out;
  if (text.empty()) {
    return out;
  }
  for (std::size_t at = 0;; ++at) {
    if (out.size() == kArgumentsMax) {
      return resource_exhausted("too many arguments");
    }
    if (at < text.size() && text[at] == '"') {
      out.push_back(TRY(quoted_field(text, at)));
    } else {
      std::size_t end = std::min(text.find(' ', at), text.size());
      std::string_view field = text.substr(at, end - at);
      if (std::size_t quote = field.find('"'); quote != std::string_view::npos) {
        return quote_error(at + quote + 1, "bare \" in non-quoted-field");
      }
      out.emplace_back(field);
      at = end;
    }
    if (at >= text.size()) {
      return out;
    }
  }
}

int signal_number(std::string_view name) {
  if (!name.starts_with("SIG")) {
    return 0;
  }
  name.remove_prefix(3);
  for (int number = 1; number < NSIG; ++number) {
    const char* known = ::sigabbrev_np(number);
    if (known != nullptr && name == known) {
      return number;
    }
  }
  return 0;
}

}  // namespace steeple::helper
