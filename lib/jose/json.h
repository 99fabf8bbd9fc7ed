// SPDX-License-Identifier: Apache-2.0

// Inside lib/jose only, and only for its .cc files: JSON as JOSE needs it. Reading refuses
// duplicate members, bytes that are not UTF-8, deep nesting and text after the value; writing
// escapes as Go's encoding/json does.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"

namespace steeple::jose {

inline constexpr std::size_t kJsonDepthMax = 32;

// One JSON object of at most `bytes_max` bytes.
Result<nlohmann::json> parse_object(std::string_view text, std::size_t bytes_max);

// The member as a string; empty when absent, an error when it is something else.
Result<std::string> string_member(const nlohmann::json& object, const char* name);

// With quotes, escaped as Go does (also <, > and &).
std::string json_string(std::string_view text);

// Compact JSON as json.Indent("", "    ") lays it out, or with another number of spaces.
std::string indent_json(std::string_view compact, std::size_t spaces = 4);

}  // namespace steeple::jose
