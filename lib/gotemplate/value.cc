// SPDX-License-Identifier: Apache-2.0

// Types and values.

#include "lib/gotemplate/value.h"

#include <utility>

#include "lib/base/check.h"
#include "lib/gotemplate/template.h"

namespace steeple::gotemplate {

namespace {

TypeRef basic(Kind kind, std::string name, unsigned bits = 64) {
  auto type = std::make_shared<Type>();
  type->kind = kind;
  type->name = std::move(name);
  type->bits = bits;
  return type;
}

std::string element_name(const TypeRef& element) {
  return element == nullptr ? "interface {}" : element->name;
}

TypeRef composite(Kind kind, std::string_view prefix, TypeRef element) {
  auto type = std::make_shared<Type>();
  type->kind = kind;
  type->name = std::string(prefix) + element_name(element);
  type->element = std::move(element);
  return type;
}

}  // namespace

const Type::Field* Type::field(std::string_view field_name, std::size_t* index) const {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == field_name) {
      *index = i;
      return &fields[i];
    }
  }
  return nullptr;
}

const Type::Method* Type::method(std::string_view method_name) const {
  for (const Method& each : methods) {
    if (each.name == method_name) {
      return &each;
    }
  }
  return nullptr;
}

namespace types {

TypeRef boolean() {
  static const TypeRef type = basic(Kind::kBool, "bool");
  return type;
}
TypeRef integer() {
  static const TypeRef type = basic(Kind::kInt, "int");
  return type;
}
TypeRef integer64() {
  static const TypeRef type = basic(Kind::kInt, "int64");
  return type;
}
TypeRef unsigned64() {
  static const TypeRef type = basic(Kind::kUint, "uint64");
  return type;
}
TypeRef float64() {
  static const TypeRef type = basic(Kind::kFloat, "float64");
  return type;
}
TypeRef string() {
  static const TypeRef type = basic(Kind::kString, "string");
  return type;
}
TypeRef list_of_any() {
  static const TypeRef type = composite(Kind::kList, "[]", kAnyElement);
  return type;
}
TypeRef map_of_any() {
  static const TypeRef type = composite(Kind::kMap, "map[string]", kAnyElement);
  return type;
}
TypeRef list_of(TypeRef element) { return composite(Kind::kList, "[]", std::move(element)); }
TypeRef map_of(TypeRef element) { return composite(Kind::kMap, "map[string]", std::move(element)); }
TypeRef pointer_to(TypeRef element) { return composite(Kind::kPointer, "*", std::move(element)); }

TypeRef named(std::string name, const TypeRef& shape) {
  CHECK(shape != nullptr);
  auto type = std::make_shared<Type>(*shape);
  type->name = std::move(name);
  return type;
}

Type::Field field(std::string name, TypeRef type, bool embedded) {
  return {.name = std::move(name),
          .json = {},
          .type = [type = std::move(type)] { return type; },
          .embedded = embedded};
}

TypeRef structure(std::string name, std::vector<Type::Field> fields,
                  std::vector<Type::Method> methods) {
  auto type = std::make_shared<Type>();
  type->kind = Kind::kStruct;
  type->name = std::move(name);
  type->fields = std::move(fields);
  type->methods = std::move(methods);
  return type;
}

}  // namespace types

Value::Value(bool value) : type_(types::boolean()), data_(value) {}
Value::Value(int value) : type_(types::integer()), data_(std::int64_t{value}) {}
Value::Value(std::int64_t value) : type_(types::integer64()), data_(value) {}
Value::Value(std::uint64_t value) : type_(types::unsigned64()), data_(value) {}
Value::Value(double value) : type_(types::float64()), data_(value) {}
Value::Value(std::string value)
    : type_(types::string()), data_(std::make_shared<const std::string>(std::move(value))) {}
Value::Value(std::string_view value) : Value(std::string(value)) {}
Value::Value(const char* value) : Value(std::string(value)) {}

Value Value::list(List items, TypeRef type) {
  CHECK(type != nullptr && type->kind == Kind::kList);
  if (type->element == nullptr) {
    for (Value& item : items) {
      item = item.in_interface();
    }
  }
  Value value;
  value.type_ = std::move(type);
  value.data_ = std::make_shared<List>(std::move(items));
  return value;
}

Value Value::strings(std::span<const std::string> items) {
  static const TypeRef type = types::list_of(types::string());
  return list(List(items.begin(), items.end()), type);
}

Value Value::map(Map entries, TypeRef type) {
  CHECK(type != nullptr && type->kind == Kind::kMap);
  if (type->element == nullptr) {
    for (auto& [key, entry] : entries) {
      entry = entry.in_interface();
    }
  }
  Value value;
  value.type_ = std::move(type);
  value.data_ = std::make_shared<Map>(std::move(entries));
  return value;
}

Value Value::object(TypeRef type, List fields) {
  CHECK(type != nullptr && type->kind == Kind::kStruct);
  CHECK(type->fields.size() == fields.size());
  Value value;
  value.type_ = std::move(type);
  value.data_ = std::make_shared<List>(std::move(fields));
  return value;
}

Value Value::pointer(Value target) {
  CHECK(target.type_ != nullptr);
  Value value;
  value.type_ = types::pointer_to(target.type_);
  value.data_ = std::make_shared<const Value>(std::move(target));
  return value;
}

Value Value::nil_of(TypeRef type) {
  CHECK(type != nullptr &&
        (type->kind == Kind::kList || type->kind == Kind::kMap || type->kind == Kind::kPointer));
  Value value;
  value.type_ = std::move(type);
  return value;
}

Value Value::zero_of(const TypeRef& type) {
  if (type == nullptr) {
    return nil_interface();
  }
  switch (type->kind) {
    case Kind::kBool:
      return of(type, false);
    case Kind::kInt:
      return of(type, std::int64_t{0});
    case Kind::kUint:
      return of(type, std::uint64_t{0});
    case Kind::kFloat:
      return of(type, 0.0);
    case Kind::kString:
      return of(type, std::string());
    case Kind::kList:
    case Kind::kMap:
    case Kind::kPointer:
      return nil_of(type);
    case Kind::kStruct: {
      List fields;
      for (const Type::Field& field : type->fields) {
        fields.push_back(zero_of(field.type()));
      }
      return object(type, std::move(fields));
    }
    case Kind::kInvalid:
    case Kind::kInterface:
      break;
  }
  return nil_interface();
}

Value Value::of(TypeRef type, bool value) {
  CHECK(type->kind == Kind::kBool);
  Value result(value);
  result.type_ = std::move(type);
  return result;
}
Value Value::of(TypeRef type, std::int64_t value) {
  CHECK(type->kind == Kind::kInt);
  Value result(value);
  result.type_ = std::move(type);
  return result;
}
Value Value::of(TypeRef type, std::uint64_t value) {
  CHECK(type->kind == Kind::kUint);
  Value result(value);
  result.type_ = std::move(type);
  return result;
}
Value Value::of(TypeRef type, double value) {
  CHECK(type->kind == Kind::kFloat);
  Value result(value);
  result.type_ = std::move(type);
  return result;
}
Value Value::of(TypeRef type, std::string value) {
  CHECK(type->kind == Kind::kString);
  Value result(std::move(value));
  result.type_ = std::move(type);
  return result;
}

Value Value::nil_interface() {
  Value value;
  value.interface_ = true;
  return value;
}

Value Value::in_interface() const {
  Value value = *this;
  value.interface_ = true;
  return value;
}

Value Value::from_interface() const {
  Value value = *this;
  value.interface_ = false;
  return value;
}

std::string_view Value::type_name() const {
  CHECK(valid());
  return interface_ ? std::string_view("interface {}") : std::string_view(type_->name);
}

template <class T>
const T& Value::get() const {
  const T* value = std::get_if<T>(&data_);
  CHECK(value != nullptr);
  return *value;
}
template const bool& Value::get() const;
template const std::int64_t& Value::get() const;
template const std::uint64_t& Value::get() const;
template const double& Value::get() const;
template const std::shared_ptr<const std::string>& Value::get() const;
template const std::shared_ptr<const Value>& Value::get() const;

const Value::List& Value::items() const {
  static const List none;
  CHECK(dynamic_kind() == Kind::kList || dynamic_kind() == Kind::kStruct);
  const auto* list = std::get_if<std::shared_ptr<List>>(&data_);
  return list == nullptr ? none : **list;
}

const Value::Map& Value::entries() const {
  static const Map none;
  CHECK(dynamic_kind() == Kind::kMap);
  const auto* map = std::get_if<std::shared_ptr<Map>>(&data_);
  return map == nullptr ? none : **map;
}

std::shared_ptr<Value::Map> Value::shared_entries() const {
  const auto* map = std::get_if<std::shared_ptr<Map>>(&data_);
  return map == nullptr ? nullptr : *map;
}

std::shared_ptr<Value::List> Value::shared_items() const {
  const auto* list = std::get_if<std::shared_ptr<List>>(&data_);
  return list == nullptr ? nullptr : *list;
}

const Value& Value::target() const {
  CHECK(dynamic_kind() == Kind::kPointer);
  return *get<std::shared_ptr<const Value>>();
}

bool Value::is_nil() const {
  switch (dynamic_kind()) {
    case Kind::kInvalid:
      return true;
    case Kind::kList:
    case Kind::kMap:
    case Kind::kPointer:
      return std::holds_alternative<std::monostate>(data_);
    default:
      return false;
  }
}

Value Value::deep_copy(int depth) const {
  if (depth > kValueDepthMax || is_nil()) {
    return *this;
  }
  Value copy = *this;
  switch (dynamic_kind()) {
    case Kind::kList:
    case Kind::kStruct: {
      List items_copy;
      items_copy.reserve(items().size());
      for (const Value& item : items()) {
        items_copy.push_back(item.deep_copy(depth + 1));
      }
      copy.data_ = std::make_shared<List>(std::move(items_copy));
      break;
    }
    case Kind::kMap: {
      Map entries_copy;
      for (const auto& [key, entry] : entries()) {
        entries_copy.emplace(key, entry.deep_copy(depth + 1));
      }
      copy.data_ = std::make_shared<Map>(std::move(entries_copy));
      break;
    }
    case Kind::kPointer:
      copy.data_ = std::make_shared<const Value>(target().deep_copy(depth + 1));
      break;
    default:
      break;
  }
  return copy;
}

bool is_true(const Value& value) {
  switch (value.dynamic_kind()) {
    case Kind::kInvalid:
    case Kind::kInterface:
      return false;
    case Kind::kBool:
      return value.boolean();
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kUint:
      return value.unsigned_integer() != 0;
    case Kind::kFloat:
      return value.floating() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
      return !value.items().empty();
    case Kind::kMap:
      return !value.entries().empty();
    case Kind::kStruct:
      return true;
    case Kind::kPointer:
      return !value.is_nil();
  }
  return false;
}

Value indirect(Value value, bool* nil) {
  *nil = false;
  while (value.kind() == Kind::kPointer || value.kind() == Kind::kInterface) {
    if (value.is_nil() &&
        (value.kind() == Kind::kPointer || value.dynamic_kind() == Kind::kInvalid)) {
      *nil = true;
      return value;
    }
    Value next = value.kind() == Kind::kInterface ? value.from_interface() : value.target();
    value = std::move(next);
  }
  return value;
}

}  // namespace steeple::gotemplate
