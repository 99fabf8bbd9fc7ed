// SPDX-License-Identifier: Apache-2.0

// What a template computes with: a value together with its Go type, since Go's templates tell types
// apart (a missing key of map[string]string prints other than one of map[string]interface {}, and
// error texts name types). Types are immutable and shared. A Value is cheap to copy; its lists,
// maps and structs are shared. Functions that change a map (sprig's `set`) do so only on values of
// one execution, see Template::execute; whatever a caller passes in is never written to.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/base/result.h"

namespace steeple::gotemplate {

class Value;

enum class Kind : std::uint8_t {
  kInvalid,    // no value at all: a missing key, an untyped nil
  kInterface,  // a slot of type interface {}; holds a value or nil
  kBool,
  kInt,
  kUint,
  kFloat,
  kString,
  kList,
  kMap,  // keys are strings
  kStruct,
  kPointer,
};

struct Type;
using TypeRef = std::shared_ptr<const Type>;

// The element type of a list or map whose slots are `interface {}`.
inline const TypeRef kAnyElement = nullptr;

struct Type {
  struct Field {
    std::string name;               // Go's name: "ServiceAccountName"
    std::string json;               // "serviceAccountName"; empty: not in JSON
    std::function<TypeRef()> type;  // lazily, since Go's types may refer to themselves
    bool embedded = false;          // its fields are visible in this struct, too
  };
  struct Method {
    std::string name;
    std::size_t arity = 0;  // arguments, all strings
    std::function<Result<Value>(const Value& receiver, std::span<const Value> arguments)> call;
  };

  Kind kind = Kind::kInvalid;
  std::string name;             // as Go's %T prints it: "*v1.ObjectMeta", "types.UID"
  TypeRef element;              // kList, kMap, kPointer; null stands for interface {}
  std::vector<Field> fields;    // kStruct
  std::vector<Method> methods;  // of the type and of pointers to it; "String" serves printing
  unsigned bits = 64;           // kInt, kUint, kFloat
  bool string_keys = true;      // kMap: keys are of type string itself, so that .name finds them
  // How JSON text becomes a value where that is not the obvious way (time stamps); may be empty.
  std::function<Result<Value>(std::string_view)> from_text = nullptr;

  const Field* field(std::string_view field_name, std::size_t* index) const;
  const Method* method(std::string_view method_name) const;
};

namespace types {
TypeRef boolean();
TypeRef integer();    // int
TypeRef integer64();  // int64
TypeRef unsigned64();
TypeRef float64();
TypeRef string();
TypeRef list_of_any();  // []interface {}
TypeRef map_of_any();   // map[string]interface {}
TypeRef list_of(TypeRef element);
TypeRef map_of(TypeRef element);
TypeRef pointer_to(TypeRef element);
// A type of its own name with the shape of another one: types.UID.
TypeRef named(std::string name, const TypeRef& shape);
// A field of a structure; not in JSON.
Type::Field field(std::string name, TypeRef type, bool embedded = false);
TypeRef structure(std::string name, std::vector<Type::Field> fields,
                  std::vector<Type::Method> methods = {});
}  // namespace types

class Value {
 public:
  using List = std::vector<Value>;
  using Map = std::map<std::string, Value, std::less<>>;

  Value() = default;  // no value
  Value(bool value);
  Value(int value);
  Value(std::int64_t value);
  Value(std::uint64_t value);
  Value(double value);
  Value(std::string value);
  Value(std::string_view value);
  Value(const char* value);

  static Value list(List items, TypeRef type = types::list_of_any());
  static Value strings(std::span<const std::string> items);  // []string
  static Value map(Map entries, TypeRef type = types::map_of_any());
  // One value for each field of the type, in its order.
  static Value object(TypeRef type, List fields);
  static Value pointer(Value target);
  static Value nil_of(TypeRef type);          // a nil list, map or pointer
  static Value zero_of(const TypeRef& type);  // Go's zero value; null type: a nil interface
  static Value of(TypeRef type, bool value);
  static Value of(TypeRef type, std::int64_t value);
  static Value of(TypeRef type, std::uint64_t value);
  static Value of(TypeRef type, double value);
  static Value of(TypeRef type, std::string value);
  static Value nil_interface();
  // This value in a slot of type interface {}.
  Value in_interface() const;
  // Out of its slot; a nil interface gives no value.
  Value from_interface() const;

  Kind kind() const { return interface_ ? Kind::kInterface : dynamic_kind(); }
  Kind dynamic_kind() const { return type_ == nullptr ? Kind::kInvalid : type_->kind; }
  bool valid() const { return interface_ || type_ != nullptr; }
  // Go's name of the static type; "interface {}" for a slot. CHECKs that the value is valid.
  std::string_view type_name() const;
  const TypeRef& type() const { return type_; }  // of what is in the slot, if it is a slot

  // Each CHECKs the kind of what it reads (through a slot).
  bool boolean() const { return get<bool>(); }
  std::int64_t integer() const { return get<std::int64_t>(); }
  std::uint64_t unsigned_integer() const { return get<std::uint64_t>(); }
  double floating() const { return get<double>(); }
  const std::string& text() const { return *get<std::shared_ptr<const std::string>>(); }
  const List& items() const;                    // kList; also the fields of a kStruct
  const Map& entries() const;                   // kMap
  std::shared_ptr<Map> shared_entries() const;  // for functions that write; null for a nil map
  const Value& target() const;                  // kPointer that is not nil
  bool is_nil() const;                          // nil list, map, pointer or interface, or no value

  // The list or map itself, for an owner that takes cycles apart.
  std::shared_ptr<List> shared_items() const;
  // Lists, maps and structs all copied, down to the leaves.
  Value deep_copy(int depth = 0) const;

 private:
  template <class T>
  const T& get() const;

  TypeRef type_;
  bool interface_ = false;
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double,
               std::shared_ptr<const std::string>, std::shared_ptr<List>, std::shared_ptr<Map>,
               std::shared_ptr<const Value>>
      data_;
};

// Go's truth of `if`: not zero, not empty, not nil.
bool is_true(const Value& value);
// Through pointers and slots; true in `nil` when that ended at a nil one, which is then returned.
Value indirect(Value value, bool* nil);

}  // namespace steeple::gotemplate
