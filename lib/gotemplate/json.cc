// SPDX-License-Identifier: Apache-2.0

// JSON to values, untyped or into a Go type.

#include "lib/gotemplate/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/base/bytes.h"
#include "lib/gotemplate/template.h"

namespace steeple::gotemplate {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kJsonBytesMax = std::size_t{4} << 20;

Error mismatch(const Json& json, const TypeRef& type) {
  return invalid_argument(fmt::format("cannot read JSON {} as {}", json.type_name(), type->name));
}

Result<Value> untyped(const Json& json, int depth);
Result<Value> typed(const Json& json, const TypeRef& type, int depth);

Result<Value> element_of(const Json& json, const TypeRef& type, int depth) {
  if (depth > kValueDepthMax) {
    return invalid_argument("JSON nested too deeply");
  }
  return type == nullptr ? untyped(json, depth) : typed(json, type, depth);
}

Result<Value> list_of(const Json& json, const TypeRef& type, int depth) {
  Value::List items;
  for (const Json& item : json) {
    items.push_back(TRY(element_of(item, type->element, depth + 1)));
  }
  return Value::list(std::move(items), type);
}

Result<Value> map_of(const Json& json, const TypeRef& type, int depth) {
  Value::Map entries;
  for (const auto& [key, entry] : json.items()) {
    entries.emplace(key, TRY(element_of(entry, type->element, depth + 1)));
  }
  return Value::map(std::move(entries), type);
}

Result<Value> untyped(const Json& json, int depth) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string:
      return Value(json.get<std::string>());
    case Json::value_t::array:
      return list_of(json, types::list_of_any(), depth);
    case Json::value_t::object:
      return map_of(json, types::map_of_any(), depth);
    default:
      return Value();
  }
}

Result<Value> object_of(const Json& json, const TypeRef& type, int depth) {
  Value::List fields;
  fields.reserve(type->fields.size());
  for (const Type::Field& field : type->fields) {
    TypeRef field_type = field.type();
    if (field.embedded && field.json.empty()) {
      fields.push_back(TRY(element_of(json, field_type, depth + 1)));
      continue;
    }
    auto found = json.find(field.json);
    if (found == json.end() || found->is_null() || field.json.empty()) {
      fields.push_back(Value::zero_of(field_type));
    } else {
      fields.push_back(TRY(element_of(*found, field_type, depth + 1)));
    }
  }
  return Value::object(type, std::move(fields));
}

Result<Value> typed(const Json& json, const TypeRef& type, int depth) {
  if (json.is_null()) {
    return Value::zero_of(type);
  }
  if (type->from_text != nullptr) {
    // Quantities and ports come as numbers, too.
    return type->from_text(json.is_string() ? json.get<std::string>() : json.dump());
  }
  switch (type->kind) {
    case Kind::kBool:
      return json.is_boolean() ? Result<Value>(Value::of(type, json.get<bool>()))
                               : mismatch(json, type);
    case Kind::kInt:
      return json.is_number_integer() ? Result<Value>(Value::of(type, json.get<std::int64_t>()))
                                      : mismatch(json, type);
    case Kind::kUint:
      return json.is_number_unsigned() ? Result<Value>(Value::of(type, json.get<std::uint64_t>()))
                                       : mismatch(json, type);
    case Kind::kFloat:
      return json.is_number() ? Result<Value>(Value::of(type, json.get<double>()))
                              : mismatch(json, type);
    case Kind::kString:
      return json.is_string() ? Result<Value>(Value::of(type, json.get<std::string>()))
                              : mismatch(json, type);
    case Kind::kList:
      return json.is_array() ? list_of(json, type, depth) : mismatch(json, type);
    case Kind::kMap:
      return json.is_object() ? map_of(json, type, depth) : mismatch(json, type);
    case Kind::kStruct:
      return json.is_object() ? object_of(json, type, depth) : mismatch(json, type);
    case Kind::kPointer:
      return Value::pointer(TRY(element_of(json, type->element, depth)));
    case Kind::kInvalid:
    case Kind::kInterface:
      break;
  }
  return mismatch(json, type);
}

// Counts nesting while it reads, so that deep text is refused before it is built.
Result<Json> parse_text(std::string_view text) {
  if (text.size() > kJsonBytesMax) {
    return invalid_argument("JSON of more than 4 MiB");
  }
  bool deep = false;
  Json json = Json::parse(
      text.begin(), text.end(),
      [&](int depth, Json::parse_event_t, Json&) {
        deep = deep || depth > kValueDepthMax;
        return !deep;
      },
      /*allow_exceptions=*/false);
  if (deep || json.is_discarded()) {
    return invalid_argument(deep ? "JSON nested too deeply" : "not JSON");
  }
  return json;
}

}  // namespace

Result<Value> from_json(const Json& json) { return untyped(json, 0); }

Result<Value> from_json(const Json& json, const TypeRef& type) { return element_of(json, type, 0); }

Result<Value> from_json_text(std::string_view text) { return untyped(TRY(parse_text(text)), 0); }

Result<Value> from_json_text(std::string_view text, const TypeRef& type) {
  return element_of(TRY(parse_text(text)), type, 0);
}

}  // namespace steeple::gotemplate
