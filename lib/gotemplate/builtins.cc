// SPDX-License-Identifier: Apache-2.0

// The functions of the language itself, with Go's rules and error texts.

#include <fmt/format.h>

#include "lib/gotemplate/compare.h"
#include "lib/gotemplate/function.h"
#include "lib/gotemplate/print.h"
#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

using Arguments = std::span<const Value>;

// What Go's reflection says when a function asks no value for its type.
Error no_type() { return invalid_argument("reflect: call of reflect.Value.Type on zero Value"); }

Result<std::size_t> index_of(const Value& index, std::size_t limit) {
  std::int64_t number = 0;
  switch (index.kind()) {
    case Kind::kInt:
      number = index.integer();
      break;
    case Kind::kUint:
      number = static_cast<std::int64_t>(index.unsigned_integer());
      break;
    case Kind::kInvalid:
      return invalid_argument("cannot index slice/array with nil");
    default:
      return invalid_argument(
          fmt::format("cannot index slice/array with type {}", index.type_name()));
  }
  if (number < 0 || static_cast<std::uint64_t>(number) > limit) {
    return invalid_argument(fmt::format("index out of range: {}", number));
  }
  return static_cast<std::size_t>(number);
}

const TypeRef& byte_type() {
  static const TypeRef type = [] {
    auto made = std::make_shared<Type>(*types::unsigned64());
    made->name = "uint8";
    made->bits = 8;
    return TypeRef(made);
  }();
  return type;
}

Result<Value> index_map(const Value& map, const Value& slot) {
  Value key = slot.from_interface();
  std::string_view wanted = map.type()->string_keys ? "string" : "its key type";
  if (!key.valid()) {
    return invalid_argument(fmt::format("value is nil; should be of type {}", wanted));
  }
  if (key.type_name() != "string") {
    return invalid_argument(
        fmt::format("value has type {}; should be {}", key.type_name(), wanted));
  }
  auto entry = map.entries().find(key.text());
  return entry != map.entries().end() ? entry->second : Value::zero_of(map.type()->element);
}

Result<Value> index_one(const Value& item, const Value& key) {
  switch (item.kind()) {
    case Kind::kList: {
      std::size_t at = TRY(index_of(key.from_interface(), item.items().size()));
      if (at == item.items().size()) {
        return invalid_argument("reflect: slice index out of range");
      }
      return item.items()[at];
    }
    case Kind::kString: {
      std::size_t at = TRY(index_of(key.from_interface(), item.text().size()));
      if (at == item.text().size()) {
        return invalid_argument("reflect: string index out of range");
      }
      return Value::of(byte_type(), std::uint64_t{static_cast<unsigned char>(item.text()[at])});
    }
    case Kind::kMap:
      return index_map(item, key);
    case Kind::kInvalid:
      return no_type();
    default:
      return invalid_argument(fmt::format("can't index item of type {}", item.type_name()));
  }
}

Result<Value> index(Arguments arguments, Budget&) {
  Value item = arguments[0].from_interface();
  if (!item.valid()) {
    return invalid_argument("index of untyped nil");
  }
  for (const Value& key : arguments.subspan(1)) {
    bool nil = false;
    item = indirect(item, &nil);
    if (nil) {
      return invalid_argument("index of nil pointer");
    }
    item = TRY(index_one(item, key));
  }
  return item;
}

Result<Value> slice(Arguments arguments, Budget& budget) {
  Value item = arguments[0].from_interface();
  if (!item.valid()) {
    return invalid_argument("slice of untyped nil");
  }
  bool nil = false;
  item = indirect(item, &nil);
  if (nil) {
    return invalid_argument("slice of nil pointer");
  }
  Arguments indexes = arguments.subspan(1);
  if (indexes.size() > 3) {
    return invalid_argument(fmt::format("too many slice indexes: {}", indexes.size()));
  }
  bool string = item.kind() == Kind::kString;
  if (!string && item.kind() != Kind::kList) {
    return invalid_argument(fmt::format("can't slice item of type {}", item.type_name()));
  }
  if (string && indexes.size() == 3) {
    return invalid_argument("cannot 3-index slice a string");
  }
  std::size_t size = string ? item.text().size() : item.items().size();
  std::array<std::size_t, 3> at = {0, size, size};
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    at[i] = TRY(index_of(indexes[i], size));
  }
  if (at[0] > at[1]) {
    return invalid_argument(fmt::format("invalid slice index: {} > {}", at[0], at[1]));
  }
  if (indexes.size() == 3 && at[1] > at[2]) {
    return invalid_argument(fmt::format("invalid slice index: {} > {}", at[1], at[2]));
  }
  TRY(budget.spend(at[1] - at[0]));
  if (string) {
    return Value::of(item.type(), item.text().substr(at[0], at[1] - at[0]));
  }
  auto begin = item.items().begin();
  return budget.keep(Value::list(Value::List(begin + static_cast<std::ptrdiff_t>(at[0]),
                                             begin + static_cast<std::ptrdiff_t>(at[1])),
                                 item.type()));
}

Result<Value> length(Arguments arguments, Budget&) {
  bool nil = false;
  Value item = indirect(arguments[0], &nil);
  if (nil) {
    return invalid_argument("len of nil pointer");
  }
  std::size_t size = 0;
  switch (item.kind()) {
    case Kind::kList:
      size = item.items().size();
      break;
    case Kind::kMap:
      size = item.entries().size();
      break;
    case Kind::kString:
      size = item.text().size();
      break;
    case Kind::kInvalid:
      return no_type();
    default:
      return invalid_argument(fmt::format("len of type {}", item.type_name()));
  }
  return Value::of(types::integer(), static_cast<std::int64_t>(size));
}

// The text that html, js and urlquery work on.
Result<std::string> joined(Arguments arguments) {
  if (arguments.size() == 1 && arguments[0].kind() == Kind::kString &&
      arguments[0].type_name() == "string") {
    return arguments[0].text();
  }
  std::vector<Value> values;
  for (const Value& each : arguments) {
    bool nil = false;
    Value value = each.kind() == Kind::kPointer ? indirect(each, &nil) : each;
    values.push_back(value.valid() ? value : Value("<no value>"));
  }
  return sprint(values);
}

Result<Value> html(Arguments arguments, Budget&) {
  std::string text = TRY(joined(arguments));
  std::string out;
  for (char c : text) {
    switch (c) {
      case '\0':
        out += "\xef\xbf\xbd";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return Value(std::move(out));
}

Result<Value> js(Arguments arguments, Budget&) {
  std::string owner = TRY(joined(arguments));
  std::string_view text = owner;
  std::string out;
  while (!text.empty()) {
    std::size_t size = 0;
    Rune rune = decode_rune(text, &size);
    if (rune == '\\' || rune == '\'' || rune == '"') {
      out += '\\';
      out += static_cast<char>(rune);
    } else if (rune < ' ' || rune == '<' || rune == '>' || rune == '&' || rune == '=' ||
               (rune >= 0x80 && !is_print(rune))) {
      out += fmt::format("\\u{:04X}", rune);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  return Value(std::move(out));
}

Result<Value> urlquery(Arguments arguments, Budget&) {
  std::string text = TRY(joined(arguments));
  std::string out;
  for (char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return Value(std::move(out));
}

Result<Value> text_value(Result<std::string> text) { return Value(TRY(std::move(text))); }

template <class Compare>
Function comparison(Compare compare) {
  return {{Parameter::kReflect, Parameter::kReflect},
          false,
          false,
          [compare](Arguments arguments, Budget& budget) -> Result<Value> {
            return Value(TRY(compare(arguments[0], arguments[1], budget)));
          }};
}

Result<Value> equals_any(Arguments arguments, Budget& budget) {
  if (arguments.size() == 1) {
    return invalid_argument("missing argument for comparison");
  }
  for (const Value& each : arguments.subspan(1)) {
    if (TRY(equal(arguments[0], each, budget))) {
      return Value(true);
    }
  }
  return Value(false);
}

Result<bool> less_or_equal(const Value& a, const Value& b, Budget& budget) {
  return TRY(less(a, b)) ? true : TRY(equal(a, b, budget));
}

Functions make_builtins() {
  const std::vector<Parameter> any = {Parameter::kAny};
  const std::vector<Parameter> reflect = {Parameter::kReflect};
  const std::vector<Parameter> reflect2 = {Parameter::kReflect, Parameter::kReflect};
  Functions table;
  table["index"] = {reflect2, true, false, index};
  table["slice"] = {reflect2, true, false, slice};
  table["len"] = {reflect, false, false, length};
  table["not"] = {reflect, false, false, [](Arguments arguments, Budget&) -> Result<Value> {
                    return Value(!is_true(arguments[0]));
                  }};
  table["print"] = {any, true, false,
                    [](Arguments arguments, Budget&) { return text_value(sprint(arguments)); }};
  table["println"] = {any, true, false,
                      [](Arguments arguments, Budget&) { return text_value(sprintln(arguments)); }};
  table["printf"] = {
      {Parameter::kString, Parameter::kAny}, true, false, [](Arguments arguments, Budget&) {
        return text_value(sprintf(arguments[0].text(), arguments.subspan(1)));
      }};
  table["html"] = {any, true, false, html};
  table["js"] = {any, true, false, js};
  table["urlquery"] = {any, true, false, urlquery};
  table["eq"] = {reflect2, true, false, equals_any};
  table["ne"] = comparison([](const Value& a, const Value& b, Budget& budget) -> Result<bool> {
    return !TRY(equal(a, b, budget));
  });
  table["lt"] = comparison([](const Value& a, const Value& b, Budget&) { return less(a, b); });
  table["le"] = comparison(less_or_equal);
  table["gt"] = comparison([](const Value& a, const Value& b, Budget& budget) -> Result<bool> {
    return !TRY(less_or_equal(a, b, budget));
  });
  table["ge"] = comparison(
      [](const Value& a, const Value& b, Budget&) -> Result<bool> { return !TRY(less(a, b)); });
  return table;
}

}  // namespace

const Functions& builtins() {
  static const Functions table = make_builtins();
  return table;
}

}  // namespace steeple::gotemplate
