// SPDX-License-Identifier: Apache-2.0

#include "lib/hcl/value.h"

#include <fmt/format.h>

#include <algorithm>

namespace steeple::hcl {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Readers copy `${...}` raw, so its '$' is written as an escape: then every string reads back.
void write_string(const std::string& text, std::string& out) {
  out += '"';
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f ||
               (c == '$' && i + 1 < text.size() && text[i + 1] == '{')) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

void write_value(const Value& value, std::size_t depth, std::string& out);

void write_members(const Value& object, std::size_t depth, std::string& out) {
  for (const Member& member : object.members) {
    if (member.value.kind == Kind::kNull) {
      continue;
    }
    out.append(depth * 2, ' ');
    write_string(member.key, out);
    out += " = ";
    write_value(member.value, depth, out);
    out += '\n';
  }
}

void write_value(const Value& value, std::size_t depth, std::string& out) {
  switch (value.kind) {
    case Kind::kNull:
      return;
    case Kind::kBool:
      out += value.boolean ? "true" : "false";
      return;
    case Kind::kNumber:
    case Kind::kFloat:
      out += value.text;
      return;
    case Kind::kString:
      write_string(value.text, out);
      return;
    case Kind::kList:
      out += '[';
      for (std::string_view comma; const Value& item : value.items) {
        if (item.kind != Kind::kNull) {
          out += comma;
          write_value(item, depth, out);
          comma = ", ";
        }
      }
      out += ']';
      return;
    case Kind::kObject:
      out += "{\n";
      write_members(value, depth + 1, out);
      out.append(depth * 2, ' ');
      out += '}';
      return;
  }
}

}  // namespace

std::string Position::text() const { return fmt::format("{}:{}", line, column); }

const Value* Value::find(std::string_view key) const {
  const Value* found = nullptr;
  for (const Member& member : members) {
    if (same_key(member.key, key)) {
      found = &member.value;
    }
  }
  return found;
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return "bool";
    case Kind::kNumber:
    case Kind::kFloat:
      return "number";
    case Kind::kString:
      return "string";
    case Kind::kList:
      return "list";
    case Kind::kObject:
      return "block";
  }
  return "value";
}

Value make_string(std::string text) {
  Value value;
  value.kind = Kind::kString;
  value.text = std::move(text);
  return value;
}

Value make_object() {
  Value value;
  value.kind = Kind::kObject;
  return value;
}

std::string write_hcl(const Value& value) {
  std::string out;
  if (value.is_object()) {
    write_members(value, 0, out);
  } else {
    write_value(value, 0, out);
  }
  return out;
}

bool same_key(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace steeple::hcl
