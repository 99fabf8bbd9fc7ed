// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/selector.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace steeple::kube {
namespace {

using nlohmann::json;

constexpr std::size_t kRequirementsMax = 1000;
constexpr std::size_t kValuesMax = 10'000;
constexpr std::size_t kNameBytesMax = 63;     // of a label's name and of its value
constexpr std::size_t kPrefixBytesMax = 253;  // a DNS subdomain

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kNameBytesMax && is_alphanumeric(text.front()) &&
         is_alphanumeric(text.back()) && std::ranges::all_of(text, [](char c) {
           return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_subdomain(std::string_view text) {
  if (text.empty() || text.size() > kPrefixBytesMax) {
    return false;
  }
  std::size_t start = 0;
  while (start <= text.size()) {
    std::size_t dot = std::min(text.find('.', start), text.size());
    std::string_view label = text.substr(start, dot - start);
    bool good = !label.empty() && label.front() != '-' && label.back() != '-' &&
                std::ranges::all_of(label, [](char c) {
                  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                });
    if (!good) {
      return false;
    }
    start = dot + 1;
  }
  return true;
}

Result<LabelOperator> parse_operator(const std::string& text) {
  if (text == "In") {
    return LabelOperator::kIn;
  }
  if (text == "NotIn") {
    return LabelOperator::kNotIn;
  }
  if (text == "Exists") {
    return LabelOperator::kExists;
  }
  if (text == "DoesNotExist") {
    return LabelOperator::kDoesNotExist;
  }
  return invalid_argument(
      fmt::format("operator: \"{}\" is none of In, NotIn, Exists, DoesNotExist", text));
}

Result<void> check(const LabelRequirement& requirement) {
  TRY(check_label_key(requirement.key).during("key"));
  bool wants_values =
      requirement.op == LabelOperator::kIn || requirement.op == LabelOperator::kNotIn;
  if (wants_values && requirement.values.empty()) {
    return invalid_argument("values: must be given for In and NotIn");
  }
  if (!wants_values && !requirement.values.empty()) {
    return invalid_argument("values: must not be given for Exists and DoesNotExist");
  }
  for (const std::string& value : requirement.values) {
    TRY(check_label_value(value).during("values"));
  }
  return {};
}

Result<std::string> string_of(const json& value, std::string_view field) {
  if (!value.is_string()) {
    return invalid_argument(fmt::format("{}: must be a string", field));
  }
  return value.get_ref<const std::string&>();
}

Result<LabelRequirement> parse_requirement(const json& object) {
  if (!object.is_object()) {
    return invalid_argument("must be an object");
  }
  LabelRequirement out;
  bool has_key = false;
  bool has_operator = false;
  for (const auto& [name, value] : object.items()) {
    if (name == "key") {
      out.key = TRY(string_of(value, "key"));
      has_key = true;
    } else if (name == "operator") {
      out.op = TRY(parse_operator(TRY(string_of(value, "operator"))));
      has_operator = true;
    } else if (name == "values") {
      if (!value.is_array() && !value.is_null()) {
        return invalid_argument("values: must be a list");
      }
      if (value.size() > kValuesMax) {
        return invalid_argument(fmt::format("values: more than {}", kValuesMax));
      }
      for (const json& element : value) {
        out.values.push_back(TRY(string_of(element, "values")));
      }
    } else {
      return invalid_argument(fmt::format("unknown field \"{}\"", name));
    }
  }
  if (!has_key || !has_operator) {
    return invalid_argument(fmt::format("{}: must be given", has_key ? "operator" : "key"));
  }
  return out;
}

Result<Labels> parse_match_labels(const json& object) {
  if (!object.is_object()) {
    return invalid_argument("must be an object");
  }
  Labels out;
  for (const auto& [name, value] : object.items()) {
    out.emplace(name, TRY(string_of(value, fmt::format("\"{}\"", name))));
  }
  return out;
}

}  // namespace

Result<void> check_label_key(std::string_view key) {
  std::size_t slash = key.find('/');
  bool good = slash == std::string_view::npos
                  ? is_name(key)
                  : is_subdomain(key.substr(0, slash)) && is_name(key.substr(slash + 1));
  if (!good) {
    return invalid_argument(fmt::format("\"{}\" is not a valid label key", key));
  }
  return {};
}

Result<void> check_label_value(std::string_view value) {
  if (!value.empty() && !is_name(value)) {
    return invalid_argument(fmt::format("\"{}\" is not a valid label value", value));
  }
  return {};
}

Result<LabelSelector> LabelSelector::make(const Labels& match_labels,
                                          std::vector<LabelRequirement> match_expressions) {
  if (match_labels.size() + match_expressions.size() > kRequirementsMax) {
    return invalid_argument(fmt::format("more than {} requirements", kRequirementsMax));
  }
  LabelSelector out;
  for (const auto& [key, value] : match_labels) {
    LabelRequirement requirement{key, LabelOperator::kIn, {value}};
    TRY(check(requirement).during("matchLabels"));
    out.requirements_.push_back(std::move(requirement));
  }
  for (std::size_t i = 0; i < match_expressions.size(); ++i) {
    LabelRequirement& requirement = match_expressions[i];
    TRY(check(requirement).during(fmt::format("matchExpressions[{}]", i)));
    std::ranges::sort(requirement.values);
    out.requirements_.push_back(std::move(requirement));
  }
  return out;
}

Result<LabelSelector> LabelSelector::parse(const json& object) {
  if (!object.is_object()) {
    return invalid_argument("must be an object");
  }
  Labels labels;
  std::vector<LabelRequirement> expressions;
  for (const auto& [name, value] : object.items()) {
    if (name == "matchLabels" && !value.is_null()) {
      labels = TRY(parse_match_labels(value).during("matchLabels"));
    } else if (name == "matchExpressions" && !value.is_null()) {
      if (!value.is_array()) {
        return invalid_argument("matchExpressions: must be a list");
      }
      for (std::size_t i = 0; i < std::min(value.size(), kRequirementsMax + 1); ++i) {
        expressions.push_back(
            TRY(parse_requirement(value[i]).during(fmt::format("matchExpressions[{}]", i))));
      }
    } else if (!value.is_null()) {
      return invalid_argument(fmt::format("unknown field \"{}\"", name));
    }
  }
  return make(labels, std::move(expressions));
}

bool LabelSelector::matches(
    const std::function<std::optional<std::string_view>(std::string_view key)>& lookup) const {
  return std::ranges::all_of(requirements_, [&](const LabelRequirement& requirement) {
    std::optional<std::string_view> value = lookup(requirement.key);
    switch (requirement.op) {
      case LabelOperator::kIn:
        return value && std::ranges::binary_search(requirement.values, *value);
      case LabelOperator::kNotIn:  // an absent key is not in the values either
        return !value || !std::ranges::binary_search(requirement.values, *value);
      case LabelOperator::kExists:
        return value.has_value();
      case LabelOperator::kDoesNotExist:
        return !value.has_value();
    }
    return false;
  });
}

bool LabelSelector::matches(const Labels& labels) const {
  return matches([&labels](std::string_view key) -> std::optional<std::string_view> {
    auto found = labels.find(key);
    if (found == labels.end()) {
      return {};
    }
    return found->second;
  });
}

std::string LabelSelector::text() const {
  std::vector<std::string> parts;
  for (const LabelRequirement& requirement : requirements_) {
    const auto& [key, op, values] = requirement;
    switch (op) {
      case LabelOperator::kIn:
        parts.push_back(values.size() == 1
                            ? fmt::format("{}={}", key, values.front())
                            : fmt::format("{} in ({})", key, fmt::join(values, ",")));
        break;
      case LabelOperator::kNotIn:
        parts.push_back(fmt::format("{} notin ({})", key, fmt::join(values, ",")));
        break;
      case LabelOperator::kExists:
        parts.push_back(key);
        break;
      case LabelOperator::kDoesNotExist:
        parts.push_back('!' + key);
        break;
    }
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

}  // namespace steeple::kube
