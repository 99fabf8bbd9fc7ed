// SPDX-License-Identifier: Apache-2.0

// Comparisons.

#include "lib/gotemplate/compare.h"

#include <fmt/format.h>

#include "lib/gotemplate/print.h"
#include "lib/gotemplate/template.h"

namespace steeple::gotemplate {

namespace {

bool basic(Kind kind) {
  return kind == Kind::kBool || kind == Kind::kInt || kind == Kind::kUint || kind == Kind::kFloat ||
         kind == Kind::kString;
}

Error incompatible(const Value& a, const Value& b) {
  return invalid_argument(
      fmt::format("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()));
}

bool equal_basic(const Value& a, const Value& b) {
  switch (a.kind()) {
    case Kind::kBool:
      return a.boolean() == b.boolean();
    case Kind::kInt:
      return a.integer() == b.integer();
    case Kind::kUint:
      return a.unsigned_integer() == b.unsigned_integer();
    case Kind::kFloat:
      return a.floating() == b.floating();
    case Kind::kString:
      return a.text() == b.text();
    default:
      return false;
  }
}

// -1: a is less, 0: equal, 1: greater; of a signed and an unsigned number.
int compare_mixed(std::int64_t a, std::uint64_t b) {
  if (a < 0 || static_cast<std::uint64_t>(a) < b) {
    return -1;
  }
  return static_cast<std::uint64_t>(a) == b ? 0 : 1;
}

bool comparable(const TypeRef& type) {
  if (type == nullptr) {
    return true;
  }
  if (type->kind == Kind::kStruct) {
    return std::all_of(type->fields.begin(), type->fields.end(),
                       [](const Type::Field& field) { return comparable(field.type()); });
  }
  return type->kind != Kind::kList && type->kind != Kind::kMap;
}

Result<bool> equal_composite(const Value& a, const Value& b, Budget& budget) {
  bool comparable_kinds = a.kind() == b.kind() || !a.valid() || !b.valid();
  if (!comparable_kinds) {
    std::vector<Value> both = {a, b};
    return invalid_argument(fmt::format("non-comparable types {}: {}, {}: {}",
                                        TRY(sprintf("%s", {&both[0], 1})), a.type_name(),
                                        b.type_name(), TRY(sprintf("%v", {&both[1], 1}))));
  }
  if (a.is_nil() || b.is_nil()) {
    return a.is_nil() == b.is_nil();
  }
  if (!comparable(b.type())) {
    return invalid_argument(
        fmt::format("non-comparable type {}: {}", TRY(sprintf("%s", {&b, 1})), b.type_name()));
  }
  if (a.type_name() != b.type_name()) {
    return false;
  }
  if (a.kind() == Kind::kPointer) {
    return &a.target() == &b.target();
  }
  return deep_equal(a, b, budget);
}

}  // namespace

Result<bool> equal(const Value& slot_a, const Value& slot_b, Budget& budget) {
  Value a = slot_a.from_interface();
  Value b = slot_b.from_interface();
  Kind left = a.kind();
  Kind right = b.kind();
  if (left == right && basic(left)) {
    TRY(budget.spend_bytes(left == Kind::kString ? a.text().size() : 0));
    return equal_basic(a, b);
  }
  if (left == Kind::kInt && right == Kind::kUint) {
    return compare_mixed(a.integer(), b.unsigned_integer()) == 0;
  }
  if (left == Kind::kUint && right == Kind::kInt) {
    return compare_mixed(b.integer(), a.unsigned_integer()) == 0;
  }
  if (basic(left) || basic(right)) {
    if (a.valid() && b.valid()) {
      return incompatible(a, b);
    }
    return false;
  }
  return equal_composite(a, b, budget);
}

Result<bool> less(const Value& slot_a, const Value& slot_b) {
  Value a = slot_a.from_interface();
  Value b = slot_b.from_interface();
  if (!basic(a.kind()) || !basic(b.kind())) {
    return invalid_argument("invalid type for comparison");
  }
  if (a.kind() == Kind::kInt && b.kind() == Kind::kUint) {
    return compare_mixed(a.integer(), b.unsigned_integer()) < 0;
  }
  if (a.kind() == Kind::kUint && b.kind() == Kind::kInt) {
    return compare_mixed(b.integer(), a.unsigned_integer()) > 0;
  }
  if (a.kind() != b.kind()) {
    return incompatible(a, b);
  }
  switch (a.kind()) {
    case Kind::kInt:
      return a.integer() < b.integer();
    case Kind::kUint:
      return a.unsigned_integer() < b.unsigned_integer();
    case Kind::kFloat:
      return a.floating() < b.floating();
    case Kind::kString:
      return a.text() < b.text();
    default:
      return invalid_argument("invalid type for comparison");
  }
}

Result<bool> deep_equal(const Value& slot_a, const Value& slot_b, Budget& budget, int depth) {
  TRY(budget.spend(1));
  if (depth > kValueDepthMax) {
    return resource_exhausted("values nested too deeply to compare");
  }
  Value a = slot_a.from_interface();
  Value b = slot_b.from_interface();
  if (!a.valid() || !b.valid()) {
    return a.valid() == b.valid();
  }
  if (a.type_name() != b.type_name() || a.is_nil() != b.is_nil()) {
    return false;
  }
  if (a.is_nil() || basic(a.kind())) {
    return a.is_nil() || equal_basic(a, b);
  }
  if (a.kind() == Kind::kPointer) {
    return deep_equal(a.target(), b.target(), budget, depth + 1);
  }
  if (a.kind() == Kind::kMap) {
    if (a.entries().size() != b.entries().size()) {
      return false;
    }
    for (const auto& [key, entry] : a.entries()) {
      auto other = b.entries().find(key);
      if (other == b.entries().end() || !TRY(deep_equal(entry, other->second, budget, depth + 1))) {
        return false;
      }
    }
    return true;
  }
  if (a.items().size() != b.items().size()) {
    return false;
  }
  for (std::size_t i = 0; i < a.items().size(); ++i) {
    if (!TRY(deep_equal(a.items()[i], b.items()[i], budget, depth + 1))) {
      return false;
    }
  }
  return true;
}

}  // namespace steeple::gotemplate
