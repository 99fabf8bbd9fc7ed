// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/yaml.h"

#include <fmt/format.h>
#include <yaml.h>

#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace steeple::kube {
namespace {

using nlohmann::json;

constexpr std::string_view kTagPrefix = "tag:yaml.org,2002:";

// Owns libyaml's parser and its current event.
class Events {
 public:
  explicit Events(std::string_view text) {
    if (yaml_parser_initialize(&parser_) == 0) {
      check_failed("libyaml has no memory");
    }
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    // libyaml aborts on the null pointer of an empty view.
    const char* bytes = text.data() == nullptr ? "" : text.data();
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(bytes),
                                 text.size());
  }
  ~Events() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  Result<void> next() {
    yaml_event_delete(&event_);
    event_ = {};
    if (yaml_parser_parse(&parser_, &event_) == 0) {
      event_ = {};
      return invalid_argument(
          fmt::format("yaml: line {}: {}", parser_.problem_mark.line + 1,
                      parser_.problem == nullptr ? "syntax error" : parser_.problem));
    }
    return {};
  }
  const yaml_event_t& event() const { return event_; }
  yaml_event_type_t type() const { return event_.type; }
  std::size_t line() const { return event_.start_mark.line + 1; }

 private:
  yaml_parser_t parser_{};
  yaml_event_t event_{};
};

std::string_view text_of(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

std::optional<json> as_integer(std::string_view text) {
  std::string digits;
  for (char c : text) {
    if (c != '_') {
      digits += c;
    }
  }
  std::string_view rest = digits;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) {
    rest.remove_prefix(1);
  }
  int base = 10;
  if (rest.starts_with("0x")) {
    base = 16;
  } else if (rest.starts_with("0o")) {
    base = 8;
  } else if (rest.starts_with("0b")) {
    base = 2;
  }
  if (base != 10) {
    rest.remove_prefix(2);
  } else if (rest.size() > 1 && rest.front() == '0') {
    base = 8;
  }
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value, base);
  if (rest.empty() || error != std::errc() || end != rest.data() + rest.size()) {
    return {};
  }
  if (!negative) {
    return json(value);
  }
  constexpr std::uint64_t kMost = std::uint64_t{1} << 63;
  if (value > kMost) {
    return {};
  }
  return json(value == kMost ? INT64_MIN : -static_cast<std::int64_t>(value));
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
std::optional<json> as_float(std::string_view text) {
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) {
    rest.remove_prefix(1);
  }
  if (rest.empty() || rest.find_first_not_of("0123456789.eE+-") != std::string_view::npos ||
      rest.find_first_of("0123456789") == std::string_view::npos ||
      (rest.front() != '.' && (rest.front() < '0' || rest.front() > '9'))) {
    return {};
  }
  double value = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc() || end != rest.data() + rest.size() || !std::isfinite(value)) {
    return {};
  }
  return json(negative ? -value : value);
}

// A plain scalar by the rules of YAML 1.1, as the Go library has them.
json resolve(std::string_view text) {
  if (one_of(text, {"", "~", "null", "Null", "NULL"})) {
    return nullptr;
  }
  if (one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) {
    return true;
  }
  if (one_of(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) {
    return false;
  }
  char first = text.front();
  if ((first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.') {
    if (auto integer = as_integer(text)) {
      return *integer;
    }
    if (auto number = as_float(text)) {
      return *number;
    }
  }
  return text;
}

class Reader {
 public:
  Reader(std::string_view text, const YamlLimits& limits) : events_(text), limits_(limits) {}

  Result<std::vector<json>> documents() {
    std::vector<json> out;
    while (true) {
      TRY(events_.next());
      if (events_.type() == YAML_STREAM_END_EVENT) {
        return out;
      }
      if (events_.type() != YAML_DOCUMENT_START_EVENT) {
        continue;
      }
      if (out.size() >= limits_.documents_max) {
        return invalid_argument(fmt::format("yaml: more than {} documents", limits_.documents_max));
      }
      anchors_.clear();
      TRY(events_.next());
      json value = TRY(node(0));
      TRY(events_.next());  // the document's end
      out.push_back(std::move(value));
    }
  }

 private:
  struct Anchor {
    json value;
    std::size_t nodes = 0;
    std::size_t depth = 0;
  };

  Error refuse(std::string_view why) const {
    return invalid_argument(fmt::format("yaml: line {}: {}", events_.line(), why));
  }

  Result<void> count(std::size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > limits_.nodes_max) {
      return refuse(fmt::format("more than {} values", limits_.nodes_max));
    }
    return {};
  }

  // The current event begins a value; reads up to its end.
  Result<json> node(std::size_t depth) {
    if (depth > limits_.depth_max) {
      return refuse("nested too deep");
    }
    deepest_ = std::max(deepest_, depth);
    const yaml_event_t& event = events_.event();
    if (event.type == YAML_ALIAS_EVENT) {
      return alias(depth);
    }
    TRY(count(1));
    std::size_t nodes_before = nodes_ - 1;
    std::size_t outer_deepest = std::exchange(deepest_, depth);
    std::string anchor;
    json value;
    switch (event.type) {
      case YAML_SCALAR_EVENT:
        anchor = text_of(event.data.scalar.anchor);
        value = TRY(scalar());
        break;
      case YAML_SEQUENCE_START_EVENT:
        anchor = text_of(event.data.sequence_start.anchor);
        TRY(check_tag(text_of(event.data.sequence_start.tag), "seq"));
        value = TRY(sequence(depth));
        break;
      case YAML_MAPPING_START_EVENT:
        anchor = text_of(event.data.mapping_start.anchor);
        TRY(check_tag(text_of(event.data.mapping_start.tag), "map"));
        value = TRY(mapping(depth));
        break;
      default:
        return refuse("a value is expected");
    }
    if (!anchor.empty()) {
      TRY(count(nodes_ - nodes_before));  // the kept copy
      anchors_[anchor] = {value, nodes_ - nodes_before, deepest_ - depth};
    }
    deepest_ = std::max(deepest_, outer_deepest);
    return value;
  }

  Result<json> alias(std::size_t depth) {
    auto found = anchors_.find(std::string(text_of(events_.event().data.alias.anchor)));
    if (found == anchors_.end()) {
      return refuse("an alias of what is not anchored before");
    }
    if (depth + found->second.depth > limits_.depth_max) {
      return refuse("nested too deep");
    }
    deepest_ = std::max(deepest_, depth + found->second.depth);
    TRY(count(found->second.nodes));
    return found->second.value;
  }

  Result<void> check_tag(std::string_view tag, std::string_view kind) {
    if (tag.empty() || tag == "!" ||
        (tag.starts_with(kTagPrefix) && tag.substr(kTagPrefix.size()) == kind)) {
      return {};
    }
    return refuse(fmt::format("unknown tag \"{}\"", tag));
  }

  Result<json> scalar() {
    const auto& data = events_.event().data.scalar;
    std::string_view text(reinterpret_cast<const char*>(data.value), data.length);
    std::string_view tag = text_of(data.tag);
    if (tag.empty()) {
      return data.style == YAML_PLAIN_SCALAR_STYLE ? resolve(text) : json(text);
    }
    if (tag == "!") {
      return json(text);
    }
    if (!tag.starts_with(kTagPrefix)) {
      return refuse(fmt::format("unknown tag \"{}\"", tag));
    }
    tag.remove_prefix(kTagPrefix.size());
    json value = tag == "str" ? json(text) : resolve(text);
    bool fits = tag == "str" || (tag == "int" && value.is_number_integer()) ||
                (tag == "float" && value.is_number()) || (tag == "bool" && value.is_boolean()) ||
                (tag == "null" && value.is_null());
    if (!fits) {
      return refuse(fmt::format("\"{}\" is no !!{}", text, tag));
    }
    return value;
  }

  Result<json> sequence(std::size_t depth) {
    json out = json::array();
    while (true) {
      TRY(events_.next());
      if (events_.type() == YAML_SEQUENCE_END_EVENT) {
        return out;
      }
      out.push_back(TRY(node(depth + 1)));
    }
  }

  Result<json> mapping(std::size_t depth) {
    json out = json::object();
    std::vector<json> merged;
    while (true) {
      TRY(events_.next());
      if (events_.type() == YAML_MAPPING_END_EVENT) {
        break;
      }
      bool merge = events_.type() == YAML_SCALAR_EVENT &&
                   events_.event().data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                   text_of(events_.event().data.scalar.value) == "<<";
      std::string key = TRY(key_text(TRY(node(depth + 1))));
      if (!merge && out.contains(key)) {
        return refuse(fmt::format("key \"{}\" already set in map", key));
      }
      TRY(events_.next());
      json value = TRY(node(depth + 1));
      if (!merge) {
        out[key] = std::move(value);
      } else if (value.is_array()) {
        merged.insert(merged.end(), value.begin(), value.end());
      } else {
        merged.push_back(std::move(value));
      }
    }
    for (json& from : merged) {
      if (!from.is_object()) {
        return refuse("map merge requires map or sequence of maps as the value");
      }
      for (auto& [key, value] : from.items()) {
        if (!out.contains(key)) {
          out[key] = std::move(value);
        }
      }
    }
    return out;
  }

  Result<std::string> key_text(const json& key) {
    if (key.is_string()) {
      return key.get_ref<const std::string&>();
    }
    if (key.is_boolean() || key.is_number()) {
      return key.dump();
    }
    return refuse("a key must be a string, number or boolean");
  }

  Events events_;
  const YamlLimits limits_;
  std::map<std::string, Anchor> anchors_;
  std::size_t nodes_ = 0;
  std::size_t deepest_ = 0;
};

Result<std::vector<json>> read(std::string_view text, const YamlLimits& limits) {
  if (text.size() > limits.bytes_max) {
    return resource_exhausted(fmt::format("yaml: text is larger than {} bytes", limits.bytes_max));
  }
  try {
    return Reader(text, limits).documents();
  } catch (const std::exception& error) {
    return invalid_argument(fmt::format("yaml: {}", error.what()));
  }
}

}  // namespace

Result<json> parse_yaml(std::string_view text, const YamlLimits& limits) {
  YamlLimits one = limits;
  one.documents_max = 1;
  std::vector<json> documents = TRY(read(text, one));
  return documents.empty() ? json() : std::move(documents.front());
}

Result<std::vector<json>> parse_yaml_documents(std::string_view text, const YamlLimits& limits) {
  std::vector<json> documents = TRY(read(text, limits));
  std::erase_if(documents, [](const json& document) { return document.is_null(); });
  return documents;
}

}  // namespace steeple::kube
