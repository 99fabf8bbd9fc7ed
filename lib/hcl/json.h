// SPDX-License-Identifier: Apache-2.0

// JSON into the document tree, with positions. Used by parse.cc only; callers use parse.h.

#pragma once

#include <string_view>

#include "lib/base/result.h"
#include "lib/hcl/value.h"

namespace steeple::hcl {

// Values (scalars, lists, blocks) in one document: bounds the tree's memory.
inline constexpr std::size_t kNodesMax = 200'000;

Result<Value> parse_json(std::string_view text);

// Bytes of the valid UTF-8 character that the (non-empty) text starts with; 0 when it has none.
std::size_t utf8_length(std::string_view text);

}  // namespace steeple::hcl
