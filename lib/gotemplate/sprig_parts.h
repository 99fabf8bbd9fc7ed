// SPDX-License-Identifier: Apache-2.0

// The parts of the sprig table, each of which adds its functions.

#pragma once

#include "lib/gotemplate/function.h"

namespace steeple::gotemplate {

void add_sprig_strings(Functions& table);
void add_sprig_lists(Functions& table);
void add_sprig_maps(Functions& table);

// What sprig makes of any value as text, number or list of texts.
Result<std::string> sprig_text(const Value& value);
std::int64_t sprig_int(const Value& value);
Result<std::vector<std::string>> sprig_texts(const Value& value);
bool sprig_empty(const Value& value);

using Call = std::function<Result<Value>(std::span<const Value>, Budget&)>;
// "asix" for parameters: a any, s string, i int, b bool, m map; a trailing + for variadic.
Function sprig_function(std::string_view signature, Call call);

}  // namespace steeple::gotemplate
