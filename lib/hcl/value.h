// SPDX-License-Identifier: Apache-2.0

// The document tree that HCL1 and JSON configuration share. Labels are objects: `Type "name" {}`
// is the member Type whose value is an object with the member name. Members keep their order and
// may repeat, as HCL1 allows. Every node knows where it stands in the file. A plain value.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace steeple::hcl {

// Both count from 1; 0 means unknown (a default, or a value made by code).
struct Position {
  int line = 0;
  int column = 0;
  std::string text() const;  // "12:3"
};

enum class Kind : unsigned char { kNull, kBool, kNumber, kFloat, kString, kList, kObject };

struct Member;

struct Value {
  Kind kind = Kind::kNull;
  bool boolean = false;         // kBool
  std::string text;             // kString: decoded; kNumber, kFloat: as written ("0x1F", "1e3")
  std::vector<Value> items;     // kList
  std::vector<Member> members;  // kObject
  Position at;

  bool is_object() const { return kind == Kind::kObject; }
  // The last member of that name (HCL1 compares without regard to case), or null.
  const Value* find(std::string_view key) const;
};

struct Member {
  std::string key;
  Value value;
  Position at;  // of the key
};

// "string", "number", "block": for error messages.
std::string_view kind_name(Kind kind);

Value make_string(std::string text);
Value make_object();

// The value as HCL text that reads back as the same tree: what an external plugin is configured
// with. An object is written without braces of its own; nulls are left out.
std::string write_hcl(const Value& value);

// HCL1 compares keys without regard to (ASCII) case.
bool same_key(std::string_view a, std::string_view b);

}  // namespace steeple::hcl
