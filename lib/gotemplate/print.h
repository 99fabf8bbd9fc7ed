// SPDX-License-Identifier: Apache-2.0

// Go's fmt for template values: Sprint, Sprintln and Sprintf with all verbs but the hexadecimal and
// binary forms of floats. Output is bounded; going past it is an error.

#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/gotemplate/value.h"

namespace steeple::gotemplate {

Result<std::string> sprint(std::span<const Value> arguments);
Result<std::string> sprintln(std::span<const Value> arguments);
Result<std::string> sprintf(std::string_view format, std::span<const Value> arguments);
// One value with %v.
Result<std::string> print_value(const Value& value);
// strconv.FormatFloat(value, format, -1 or the precision, 64).
std::string format_float(double value, char format, int precision, unsigned bits = 64);
// What %# makes of it: the point always there, and zeros up to the precision.
std::string with_point(std::string number, char verb, int precision);

}  // namespace steeple::gotemplate
