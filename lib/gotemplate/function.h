// SPDX-License-Identifier: Apache-2.0

// Functions that templates may call, as a table that the caller of Template::parse gives. A
// function declares its parameters as a Go function does, so that wrong arguments get Go's errors
// before it runs. The builtins of the language (eq, printf, index ...) are always there; a table
// may hide them. Functions must not keep what they are given.

#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/gotemplate/value.h"

namespace steeple::gotemplate {

// What one execution may still spend; all of it is bounded so that no template runs for ever.
class Budget {
 public:
  // Fails when the work is used up. Units: one node, one item or 64 bytes.
  Result<void> spend(std::size_t units);
  Result<void> spend_bytes(std::size_t bytes) { return spend(1 + bytes / 64); }
  // A list or map that functions made; kept until the end and then taken apart without recursion,
  // since `set` can build cycles.
  Value keep(Value container);

  Budget() = default;
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;
  ~Budget();

 private:
  std::size_t used_ = 0;
  std::vector<Value> kept_;
};

enum class Parameter : std::uint8_t {
  kAny,      // interface {}: gets a value that is never a slot; nil arrives as no value
  kReflect,  // reflect.Value: like kAny, but typed nils and slots arrive as they are
  kString,
  kInt,
  kBool,
  kMap,  // map[string]interface {}
};

struct Function {
  std::vector<Parameter> parameters;
  bool variadic = false;  // the last parameter may come any number of times
  bool writes = false;    // it changes a map that it is given: data is copied before the execution
  std::function<Result<Value>(std::span<const Value>, Budget&)> call;
};

using Functions = std::map<std::string, Function, std::less<>>;

// eq ne lt le gt ge not index slice len print printf println html js urlquery. `and`, `or` are
// part of the evaluator, and so is `call`, which always fails: there are no function values.
const Functions& builtins();

}  // namespace steeple::gotemplate
