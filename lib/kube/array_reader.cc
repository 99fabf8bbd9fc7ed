// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/array_reader.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace steeple::kube {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

}  // namespace

ArrayReader::ArrayReader(Texts, std::string member, OnText on_text, Limits limits)
    : member_(std::move(member)), on_text_(std::move(on_text)), limits_(limits) {}

ArrayReader::ArrayReader(std::string member, OnElement on_element, Limits limits)
    : ArrayReader(
          Texts{}, std::move(member),
          [on_element = std::move(on_element), limits](std::string_view text) -> Result<void> {
            return on_element(
                TRY(parse_object(text, limits.element_bytes_max, limits.keep_managed_fields)));
          },
          limits) {}

ArrayReader ArrayReader::of_texts(std::string member, OnText on_text, Limits limits) {
  return {Texts{}, std::move(member), std::move(on_text), limits};
}

Result<void> ArrayReader::feed(std::string_view bytes) {
  if (failed_.ok()) {
    failed_ = run(bytes);
  }
  return failed_;
}

Result<void> ArrayReader::run(std::string_view bytes) {
  while (!bytes.empty()) {
    switch (where_) {
      case Where::kRest:
        TRY(take_rest(bytes));
        break;
      case Where::kElement:
        TRY(take_element(bytes));
        break;
      case Where::kBeforeElement:
      case Where::kAfterElement:
        TRY(take_between(bytes));
        break;
    }
  }
  return {};
}

bool ArrayReader::scan(char c) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
    }
    return false;
  }
  switch (c) {
    case '"':
      in_string_ = true;
      return false;
    case '{':
    case '[':
      ++depth_;
      return false;
    case '}':
    case ']':
      return depth_ == 0 || --depth_ == 0;  // one too many is found by the parser
    default:
      return false;
  }
}

// Follows the names of the top object, up to the '[' behind ours.
bool ArrayReader::enters_array(char c) {
  if (in_string_ || depth_ != 1 || is_space(c)) {
    return false;
  }
  if (c == ':') {
    member_colon_ =
        std::string_view(rest_).substr(string_start_, string_length_) == '"' + member_ + '"';
    return false;
  }
  return std::exchange(member_colon_, false) && c == '[';
}

Result<void> ArrayReader::take_rest(std::string_view& bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    char c = bytes[i];
    bool array = enters_array(c);
    bool was_in_string = in_string_;
    if (!array) {
      scan(c);
    }
    if (rest_.size() >= limits_.rest_bytes_max) {
      return invalid_argument(
          fmt::format("more than {} bytes beside \"{}\"", limits_.rest_bytes_max, member_));
    }
    if (depth_ == 1 && in_string_ && !was_in_string) {
      string_start_ = rest_.size();
    }
    rest_ += c;
    if (depth_ == 1 && !in_string_ && was_in_string) {
      string_length_ = rest_.size() - string_start_;
    }
    if (array) {
      if (std::exchange(array_seen_, true)) {
        return invalid_argument(fmt::format("duplicate member \"{}\"", member_));
      }
      where_ = Where::kBeforeElement;
      depth_ = 0;
      bytes.remove_prefix(i + 1);
      return {};
    }
  }
  bytes = {};
  return {};
}

Result<void> ArrayReader::take_between(std::string_view& bytes) {
  char c = bytes.front();
  if (is_space(c)) {
    bytes.remove_prefix(1);
    return {};
  }
  if (c == ']' && !comma_) {
    where_ = Where::kRest;
    rest_ += c;
    depth_ = 1;
  } else if (c == ',' && where_ == Where::kAfterElement) {
    where_ = Where::kBeforeElement;
    comma_ = true;
  } else if (c == '{' && where_ == Where::kBeforeElement) {
    if (++elements_ > limits_.elements_max) {
      return resource_exhausted(
          fmt::format("\"{}\" has more than {} elements", member_, limits_.elements_max));
    }
    where_ = Where::kElement;
    comma_ = false;
    return {};  // the element begins with this byte
  } else {
    return invalid_argument(
        fmt::format("malformed JSON: unexpected byte in \"{}\", element {}", member_, elements_));
  }
  bytes.remove_prefix(1);
  return {};
}

Result<void> ArrayReader::take_element(std::string_view& bytes) {
  std::size_t end = 0;
  bool complete = false;
  while (end < bytes.size() && !complete) {
    complete = scan(bytes[end++]);
  }
  if (element_.size() + end > limits_.element_bytes_max) {
    return resource_exhausted(fmt::format("element {} of \"{}\" is larger than {} bytes",
                                          elements_ - 1, member_, limits_.element_bytes_max));
  }
  std::string_view part = bytes.substr(0, end);
  bytes.remove_prefix(end);
  if (!complete) {
    element_ += part;
    return {};
  }
  where_ = Where::kAfterElement;
  if (!element_.empty()) {
    element_ += part;
    part = element_;
  }
  Result<void> taken = on_text_(part);
  element_.clear();
  return taken;
}

Result<nlohmann::json> ArrayReader::finish() {
  if (!failed_.ok()) {
    return failed_.error();
  }
  if (where_ != Where::kRest) {
    failed_ = invalid_argument("malformed JSON: the text ends within \"" + member_ + "\"");
    return failed_.error();
  }
  return parse_object(rest_, limits_.rest_bytes_max);
}

}  // namespace steeple::kube
