// SPDX-License-Identifier: Apache-2.0

// Go's number syntax: constants of templates, and strconv's parsers.

#pragma once

#include <optional>
#include <string_view>

#include "lib/gotemplate/syntax.h"

namespace steeple::gotemplate {

// strconv.ParseUint, ParseInt with base 0 (prefixes 0x 0o 0b 0, underscores) and 64 bits.
std::optional<std::uint64_t> parse_unsigned(std::string_view text);
std::optional<std::int64_t> parse_signed(std::string_view text);
// strconv.ParseFloat of 64 bits, without names for infinity.
std::optional<double> parse_float(std::string_view text);

// Reads node.text and sets the numbers and which types can hold it.
Result<void> read_number(Node& node);
Result<void> read_character(Node& node);

}  // namespace steeple::gotemplate
