// SPDX-License-Identifier: Apache-2.0

// UTF-8 and character classes as Go's utf8, unicode and strconv have them. Beyond ASCII and Latin-1
// the classes come from the C library's C.UTF-8 locale; where that is not installed, a character
// beyond Latin-1 is a printable letter without case.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace steeple::gotemplate {

using Rune = std::int32_t;
inline constexpr Rune kRuneError = 0xfffd;
inline constexpr Rune kRuneMax = 0x10ffff;

// The first rune of a text that is not empty; its length in bytes goes to `size`. Wrong UTF-8 gives
// kRuneError and length 1.
Rune decode_rune(std::string_view text, std::size_t* size);
void append_rune(std::string& out, Rune rune);
bool valid_utf8(std::string_view text);
std::size_t rune_count(std::string_view text);

bool is_letter(Rune rune);
bool is_digit(Rune rune);
bool is_space(Rune rune);
bool is_upper(Rune rune);
bool is_lower(Rune rune);
bool is_punct(Rune rune);
bool is_print(Rune rune);
Rune to_upper(Rune rune);
Rune to_lower(Rune rune);

// strconv.Quote, QuoteToASCII.
std::string quote(std::string_view text, bool ascii = false);
// strconv.QuoteRune.
std::string quote_rune(Rune rune, bool ascii = false);
// strconv.Unquote of "..." or `...`; the error says "invalid syntax".
Result<std::string> unquote(std::string_view text);
// strconv.UnquoteChar: one character of `text` inside quotes of kind `quote`; what is left in
// `tail`. `multibyte`: it is a rune, not a byte.
Result<Rune> unquote_char(std::string_view text, char quote, bool* multibyte,
                          std::string_view* tail);

}  // namespace steeple::gotemplate
