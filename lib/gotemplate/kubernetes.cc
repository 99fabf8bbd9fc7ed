// SPDX-License-Identifier: Apache-2.0

// Types of Kubernetes objects out of the table.

#include "lib/gotemplate/kubernetes.h"

#include <fmt/format.h>

#include <map>

#include "lib/base/check.h"
#include "lib/gotemplate/kubernetes_table.h"
#include "lib/gotemplate/number.h"

namespace steeple::gotemplate::kubernetes {

namespace {

// A struct that prints as one text. Go's has private fields; this one has a field without a name.
TypeRef printable(std::string name, std::string_view zero,
                  std::function<Result<std::string>(std::string_view)> read) {
  auto type = std::make_shared<Type>();
  type->kind = Kind::kStruct;
  type->name = std::move(name);
  type->fields = {{"", "", types::string}};
  type->methods = {
      {"String", 0,
       [zero = std::string(zero)](const Value& receiver, std::span<const Value>) -> Result<Value> {
         const std::string& text = receiver.items()[0].text();
         return Value(text.empty() ? zero : text);
       }}};
  // The type as such is not to be held by its own function: a table without it reads.
  std::weak_ptr<const Type> self = type;
  type->from_text = [self, read = std::move(read)](std::string_view text) -> Result<Value> {
    TypeRef owner = self.lock();
    CHECK(owner != nullptr);
    auto value = Value(TRY(read(text)));
    return Value::object(owner, {std::move(value)});
  };
  return type;
}

// "2024-05-01T10:00:00Z" as Go prints it in UTC: "2024-05-01 10:00:00 +0000 UTC".
Result<std::string> go_time(std::string_view text) {
  if (text.size() != 20 || text[10] != 'T' || text[19] != 'Z') {
    return invalid_argument(fmt::format("cannot read \"{}\" as v1.Time", text));
  }
  return fmt::format("{} {} +0000 UTC", text.substr(0, 10), text.substr(11, 8));
}

Value int_or_string(const TypeRef& type, std::string_view text) {
  auto number = parse_signed(text);
  return Value::object(type, {Value(std::int64_t{number ? 0 : 1}), Value(number.value_or(0)),
                              Value(number ? std::string_view() : text)});
}

TypeRef int_or_string_type() {
  auto type = std::make_shared<Type>();
  type->kind = Kind::kStruct;
  type->name = "intstr.IntOrString";
  type->fields = {{"Type", "", types::integer64},
                  {"IntVal", "", types::integer64},
                  {"StrVal", "", types::string}};
  type->methods = {
      {"String", 0, [](const Value& receiver, std::span<const Value>) -> Result<Value> {
         const Value::List& fields = receiver.items();
         return fields[0].integer() == 1 ? fields[2] : Value(std::to_string(fields[1].integer()));
       }}};
  std::weak_ptr<const Type> self = type;
  type->from_text = [self](std::string_view text) -> Result<Value> {
    return int_or_string(self.lock(), text);
  };
  return type;
}

// Get methods of ObjectMeta: GetName and the like give the field of that name.
std::vector<Type::Method> getters(const std::vector<Type::Field>& fields) {
  std::vector<Type::Method> methods;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    methods.push_back({"Get" + fields[i].name, 0,
                       [i](const Value& receiver, std::span<const Value>) -> Result<Value> {
                         return receiver.items()[i];
                       }});
  }
  return methods;
}

class Table {
 public:
  Table() {
    types_ = {{"string", types::string()},
              {"bool", types::boolean()},
              {"int64", types::integer64()},
              {"int32", types::named("int32", types::integer64())},
              {"int", types::integer()},
              {"v1.Time", printable("v1.Time", "0001-01-01 00:00:00 +0000 UTC", go_time)},
              {"resource.Quantity", printable("resource.Quantity", "0", plain)},
              {"v1.FieldsV1", printable("v1.FieldsV1", "", plain)},
              {"intstr.IntOrString", int_or_string_type()}};
    for (std::string_view piece : kTable) {
      read(piece);
    }
    for (const std::string& name : names_) {
      for (const Type::Field& field : TypeRef(make(name))->fields) {
        (void)make(field_types_.at(name + "." + field.name));
      }
    }
  }

  TypeRef find(std::string_view name) const {
    auto found = types_.find(name);
    return found == types_.end() ? nullptr : found->second;
  }

 private:
  static Result<std::string> plain(std::string_view text) { return std::string(text); }

  void read(std::string_view piece) {
    auto word = [&] {
      piece.remove_prefix(std::min(piece.find_first_not_of(" \n"), piece.size()));
      std::string_view result = piece.substr(0, piece.find_first_of(" \n"));
      piece.remove_prefix(result.size());
      return result;
    };
    for (std::string_view name = word(); !name.empty(); name = word()) {
      std::string_view shape = word();
      std::size_t end = 0;
      if (shape.starts_with('{')) {
        end = piece.find('}');
        bodies_[std::string(name)] =
            std::string(shape.substr(1)) + std::string(piece.substr(0, end));
        piece.remove_prefix(end == std::string_view::npos ? piece.size() : end + 1);
      } else {
        bodies_[std::string(name)] = "=" + std::string(shape);
      }
      names_.emplace_back(name);
    }
  }

  TypeRef make(const std::string& name);
  TypeRef structure(const std::string& name, std::string_view body);

  std::map<std::string, TypeRef, std::less<>> types_;
  std::map<std::string, std::string> bodies_;
  std::map<std::string, std::string> field_types_;
  std::vector<std::string> names_;
};

TypeRef Table::make(const std::string& name) {
  if (TypeRef known = find(name)) {
    return known;
  }
  TypeRef made;
  if (name.starts_with('*')) {
    made = types::pointer_to(make(name.substr(1)));
  } else if (name.starts_with("[]")) {
    made = types::list_of(make(name.substr(2)));
  } else if (name.starts_with("map[")) {
    std::size_t close = name.find(']');
    auto map = std::make_shared<Type>(*types::map_of(make(name.substr(close + 1))));
    map->string_keys = name.substr(4, close - 4) == "string";
    map->name = name;
    made = map;
  } else {
    const std::string& body = bodies_.at(name);
    made = body.starts_with('=') ? types::named(name, make(body.substr(1))) : structure(name, body);
  }
  types_[name] = made;
  return made;
}

TypeRef Table::structure(const std::string& name, std::string_view body) {
  std::vector<Type::Field> fields;
  while (!body.empty()) {
    std::size_t end = std::min(body.find(';'), body.size());
    std::string owner(body.substr(0, end));
    std::replace(owner.begin(), owner.end(), '\n', ' ');
    std::string_view line = owner;
    body.remove_prefix(std::min(end + 1, body.size()));
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty()) {
      continue;
    }
    std::size_t first = line.find(' ');
    CHECK(first != std::string_view::npos);
    std::size_t word = line.find_first_not_of(' ', first);
    std::size_t second = line.find(' ', word);
    CHECK(second != std::string_view::npos);
    std::string field_name(line.substr(0, first));
    std::string json(line.substr(word, second - word));
    std::string field_type(line.substr(line.find_first_not_of(' ', second)));
    field_types_[name + "." + field_name] = field_type;
    bool embedded = json == "+";
    fields.push_back({field_name, embedded ? "" : json,
                      [field_type] { return kubernetes::type(field_type); }, embedded});
  }
  std::vector<Type::Method> methods;
  if (name == "v1.ObjectMeta") {
    methods = getters(fields);
  }
  return types::structure(name, std::move(fields), std::move(methods));
}

const Table& table() {
  static const Table made;
  return made;
}

}  // namespace

TypeRef type(std::string_view go_name) { return table().find(go_name); }
TypeRef object_meta() { return type("v1.ObjectMeta"); }
TypeRef pod_spec() { return type("v1.PodSpec"); }
TypeRef node_spec() { return type("v1.NodeSpec"); }

}  // namespace steeple::gotemplate::kubernetes
