// SPDX-License-Identifier: Apache-2.0

// The sprig table: conversions, defaults and digests; strings, lists and maps are files of their
// own.

#include "lib/gotemplate/sprig.h"

#include <fmt/format.h>

#include <cmath>

#include "lib/base/bytes.h"
#include "lib/gotemplate/number.h"
#include "lib/gotemplate/print.h"
#include "lib/gotemplate/sprig_parts.h"

namespace steeple::gotemplate {

namespace {

using Arguments = std::span<const Value>;

Value any(const Value& value) { return value.in_interface(); }

std::int64_t int_of_text(std::string_view text) {
  // "8.00" counts as 8.
  std::size_t dot = text.find('.');
  if (dot != std::string_view::npos && dot + 1 < text.size() &&
      text.find_first_not_of('0', dot + 1) == std::string_view::npos) {
    text = text.substr(0, dot);
  }
  return parse_signed(text).value_or(0);
}

void add_defaults(Functions& table) {
  table["default"] = sprig_function("aa+", [](Arguments a, Budget&) -> Result<Value> {
    return any(a.size() < 2 || sprig_empty(a[1]) ? a[0] : a[1]);
  });
  table["empty"] = sprig_function(
      "a", [](Arguments a, Budget&) -> Result<Value> { return Value(sprig_empty(a[0])); });
  table["coalesce"] = sprig_function("a+", [](Arguments a, Budget&) -> Result<Value> {
    auto found = std::find_if_not(a.begin(), a.end(), sprig_empty);
    return any(found == a.end() ? Value() : *found);
  });
  table["all"] = sprig_function("a+", [](Arguments a, Budget&) -> Result<Value> {
    return Value(std::none_of(a.begin(), a.end(), sprig_empty));
  });
  table["any"] = sprig_function("a+", [](Arguments a, Budget&) -> Result<Value> {
    return Value(!std::all_of(a.begin(), a.end(), sprig_empty));
  });
  table["ternary"] = sprig_function("aab", [](Arguments a, Budget&) -> Result<Value> {
    return any(a[2].boolean() ? a[0] : a[1]);
  });
  table["fail"] = sprig_function(
      "s", [](Arguments a, Budget&) -> Result<Value> { return invalid_argument(a[0].text()); });
}

Result<Value> sequence(Arguments a, Budget& budget) {
  if (a.empty() || a.size() > 3) {
    return Value("");
  }
  std::int64_t start = a.size() == 1 ? 1 : a[0].integer();
  std::int64_t end = a.back().integer();
  std::int64_t direction = end < start ? -1 : 1;
  std::int64_t step = a.size() == 3 ? a[1].integer() : direction;
  if (step == 0 || (step > 0) != (direction > 0)) {
    return Value("");
  }
  // Distances as unsigned numbers, so that no step overflows.
  auto bits = [](std::int64_t number) { return static_cast<std::uint64_t>(number); };
  std::uint64_t stride = step > 0 ? bits(step) : 0 - bits(step);
  std::string out = std::to_string(start);
  std::uint64_t left = direction > 0 ? bits(end) - bits(start) : bits(start) - bits(end);
  std::uint64_t at = bits(start);
  for (; left >= stride; left -= stride) {
    TRY(budget.spend(1));
    at += bits(step);
    out += fmt::format(" {}", static_cast<std::int64_t>(at));
  }
  return Value(std::move(out));
}

std::string adler32(std::string_view text) {
  std::uint32_t low = 1;
  std::uint32_t high = 0;
  for (char c : text) {
    low = (low + static_cast<unsigned char>(c)) % 65521;
    high = (high + low) % 65521;
  }
  return std::to_string((high << 16) | low);
}

}  // namespace

Function sprig_function(std::string_view signature, Call call) {
  Function function;
  function.call = std::move(call);
  for (char c : signature) {
    switch (c) {
      case '+':
        function.variadic = true;
        break;
      case 's':
        function.parameters.push_back(Parameter::kString);
        break;
      case 'i':
        function.parameters.push_back(Parameter::kInt);
        break;
      case 'b':
        function.parameters.push_back(Parameter::kBool);
        break;
      case 'm':
        function.parameters.push_back(Parameter::kMap);
        break;
      default:
        function.parameters.push_back(Parameter::kAny);
    }
  }
  return function;
}

Result<std::string> sprig_text(const Value& value) {
  if (value.dynamic_kind() == Kind::kString && value.type_name() == "string") {
    return value.text();
  }
  return print_value(value);
}

std::int64_t sprig_int(const Value& value) {
  switch (value.dynamic_kind()) {
    case Kind::kInt:
      return value.integer();
    case Kind::kUint:
      return static_cast<std::int64_t>(value.unsigned_integer());
    case Kind::kFloat: {
      double number = value.floating();
      bool fits = number > -9.2e18 && number < 9.2e18;
      return fits ? static_cast<std::int64_t>(number) : std::numeric_limits<std::int64_t>::min();
    }
    case Kind::kString:
      return int_of_text(value.text());
    case Kind::kBool:
      return value.boolean() ? 1 : 0;
    default:
      return 0;
  }
}

Result<std::vector<std::string>> sprig_texts(const Value& value) {
  std::vector<std::string> texts;
  if (value.dynamic_kind() != Kind::kList) {
    if (value.from_interface().valid()) {
      texts.push_back(TRY(sprig_text(value)));
    }
    return texts;
  }
  for (const Value& item : value.items()) {
    if (Value inner = item.from_interface(); inner.valid()) {
      texts.push_back(TRY(sprig_text(inner)));
    }
  }
  return texts;
}

bool sprig_empty(const Value& value) { return !is_true(value); }

Functions sprig(SprigNeeds needs) {
  Functions table;
  add_defaults(table);
  add_sprig_strings(table);
  add_sprig_lists(table);
  add_sprig_maps(table);
  table["seq"] = sprig_function("i+", sequence);
  table["adler32sum"] = sprig_function(
      "s", [](Arguments a, Budget&) -> Result<Value> { return Value(adler32(a[0].text())); });
  auto digest = [&](const char* name, std::function<std::string(std::string_view)> hash) {
    if (hash != nullptr) {
      table[name] = sprig_function("s", [hash](Arguments a, Budget&) -> Result<Value> {
        return Value(hex_encode(hash(a[0].text())));
      });
    }
  };
  digest("sha1sum", std::move(needs.sha1));
  digest("sha256sum", std::move(needs.sha256));
  if (Random* random = needs.random) {
    table["uuidv4"] = sprig_function(
        "", [random](Arguments, Budget&) -> Result<Value> { return Value(random->uuid()); });
  }
  return table;
}

}  // namespace steeple::gotemplate
