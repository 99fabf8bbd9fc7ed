// SPDX-License-Identifier: Apache-2.0

// Label selectors as metav1.LabelSelector has them, evaluated here or written out for a query.
// Needs no cluster. A selector without requirements matches everything; what an absent selector
// means is the caller's to say.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace steeple::kube {

using Labels = std::map<std::string, std::string, std::less<>>;

enum class LabelOperator : std::uint8_t { kIn, kNotIn, kExists, kDoesNotExist };

struct LabelRequirement {
  std::string key;
  LabelOperator op = LabelOperator::kExists;
  std::vector<std::string> values = {};  // sorted; for kIn and kNotIn
};

class LabelSelector {
 public:
  LabelSelector() = default;

  // {"matchLabels": {...}, "matchExpressions": [{"key","operator","values"}]}; errors name the
  // field as the API server does: `matchExpressions[0].operator: ...`. Unknown members are errors.
  static Result<LabelSelector> parse(const nlohmann::json& object);
  // Keys and values are checked as labels.
  static Result<LabelSelector> make(const Labels& match_labels,
                                    std::vector<LabelRequirement> match_expressions = {});

  bool matches(const Labels& labels) const;
  // For labels kept in another shape: `lookup(key)` gives the value or nothing.
  bool matches(
      const std::function<std::optional<std::string_view>(std::string_view key)>& lookup) const;
  bool empty() const { return requirements_.empty(); }
  const std::vector<LabelRequirement>& requirements() const { return requirements_; }
  // "app=web,tier in (a,b),!legacy": the labelSelector of a query.
  std::string text() const;

 private:
  std::vector<LabelRequirement> requirements_;
};

// [prefix/]name as labels and annotations are named; a value of a label.
Result<void> check_label_key(std::string_view key);
Result<void> check_label_value(std::string_view value);

}  // namespace steeple::kube
