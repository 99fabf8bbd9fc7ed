// SPDX-License-Identifier: Apache-2.0

// Flags as Go's flag package reads and prints them, because SPIRE's scripts and texts depend on it:
// -x v, -x=v, --x; bool flags take a value only as -x=v; parsing stops at the first non-flag, or
// after "--". Own code and not CLI11: that library has no single-dash long names, joins short
// flags, and its errors and usage text would all have to be replaced.

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"

namespace steeple::cli {

class FlagSet {
 public:
  // `name` is what usage and errors call the command: "entry create".
  explicit FlagSet(std::string name) : name_(std::move(name)) {}

  // The target's present value is the default; it must outlive the FlagSet. A `quoted` word in
  // the usage names the value, as in Go.
  void add(std::string name, std::string* target, std::string usage);
  void add(std::string name, bool* target, std::string usage);
  void add(std::string name, int* target, std::string usage);
  void add(std::string name, std::int64_t* target, std::string usage);
  // Go's DurationVar: printed as "duration".
  void add(std::string name, Duration* target, std::string usage);
  // May be repeated.
  void add(std::string name, std::vector<std::string>* target, std::string usage);
  // "a,b": the last one given wins.
  void add_comma_list(std::string name, std::vector<std::string>* target, std::string usage);
  // SPIRE's DurationFlag: as a duration, printed as "value".
  void add_duration_value(std::string name, Duration* target, std::string usage);
  // Go's flag.Var. `default_text` is shown unless empty.
  void add_value(std::string name, std::function<Result<void>(const std::string& text)> set,
                 std::string usage, std::string default_text = {});

  // Sets the targets. On an error (also for -h, "flag: help requested") the texts that Go prints,
  // the error line and the usage, are appended to `printed`.
  Result<void> parse(std::span<const std::string> arguments, std::string& printed);
  // What follows the flags.
  const std::vector<std::string>& rest() const { return rest_; }
  bool was_set(std::string_view name) const;

  // "Usage of NAME:" and the flags, sorted.
  std::string usage() const;

 private:
  struct Flag {
    std::string name;
    std::string type;  // "string", "int", "duration", "value"; empty for bool
    std::string usage;
    std::string shown_default;  // as printed, empty for zero values
    std::function<Result<void>(const std::string& text)> set;
    bool is_bool = false;
    bool given = false;
  };

  void add_flag(Flag flag);
  Flag* find(std::string_view name);
  Result<bool> parse_one(std::span<const std::string>& arguments);

  std::string name_;
  std::vector<Flag> flags_;  // sorted by name
  std::vector<std::string> rest_;
};

}  // namespace steeple::cli
