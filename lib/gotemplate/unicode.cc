// SPDX-License-Identifier: Apache-2.0

// UTF-8, character classes and Go's quoting.

#include "lib/gotemplate/unicode.h"

#include <fmt/format.h>
#include <locale.h>
#include <wctype.h>

namespace steeple::gotemplate {

namespace {

// Null when the system lacks it. Lives as long as the program.
locale_t utf8_locale() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

bool in_class(Rune rune, int (*test)(wint_t, locale_t), bool without_locale) {
  locale_t locale = utf8_locale();
  return locale == nullptr ? without_locale : test(static_cast<wint_t>(rune), locale) != 0;
}

bool surrogate(Rune rune) { return rune >= 0xd800 && rune <= 0xdfff; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

Error invalid_syntax() { return invalid_argument("invalid syntax"); }

// How many bytes a lead byte announces, 0 for none, with the range of the second byte.
std::size_t sequence_length(unsigned char lead, unsigned char* low, unsigned char* high) {
  *low = 0x80;
  *high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    return 2;
  }
  if (lead >= 0xe0 && lead <= 0xef) {
    *low = lead == 0xe0 ? 0xa0 : 0x80;
    *high = lead == 0xed ? 0x9f : 0xbf;
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    *low = lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xf4 ? 0x8f : 0xbf;
    return 4;
  }
  return 0;
}

void append_escaped(std::string& out, Rune rune, char delimiter, bool ascii) {
  if (rune == delimiter || rune == '\\') {
    out += '\\';
    out += static_cast<char>(rune);
    return;
  }
  if (ascii ? (rune < 0x80 && is_print(rune)) : is_print(rune)) {
    append_rune(out, rune);
    return;
  }
  constexpr std::string_view kLetters = "abtnvfr";
  if (rune >= 7 && rune <= 13) {
    out += '\\';
    out += kLetters[static_cast<std::size_t>(rune - 7)];
  } else if (rune < ' ' || rune == 0x7f) {
    out += fmt::format("\\x{:02x}", rune);
  } else if (rune < 0x10000) {
    out += fmt::format("\\u{:04x}", rune);
  } else {
    out += fmt::format("\\U{:08x}", rune);
  }
}

Result<Rune> unquote_number(std::string_view text, std::size_t digits, int base,
                            std::string_view* tail) {
  if (text.size() < digits) {
    return invalid_syntax();
  }
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    int digit = hex_digit(text[i]);
    if (digit < 0 || digit >= base) {
      return invalid_syntax();
    }
    value = value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
  }
  *tail = text.substr(digits);
  if (value > static_cast<std::uint32_t>(kRuneMax)) {
    return invalid_syntax();
  }
  return static_cast<Rune>(value);
}

}  // namespace

Rune decode_rune(std::string_view text, std::size_t* size) {
  auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  *size = 1;
  if (byte(0) < 0x80) {
    return byte(0);
  }
  unsigned char low = 0;
  unsigned char high = 0;
  std::size_t length = sequence_length(byte(0), &low, &high);
  if (length == 0 || text.size() < length || byte(1) < low || byte(1) > high) {
    return kRuneError;
  }
  Rune rune = byte(0) & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return kRuneError;
    }
    rune = (rune << 6) | (byte(i) & 0x3f);
  }
  *size = length;
  return rune;
}

void append_rune(std::string& out, Rune rune) {
  if (rune < 0 || rune > kRuneMax || surrogate(rune)) {
    rune = kRuneError;
  }
  auto put = [&](Rune bits) { out += static_cast<char>(static_cast<unsigned char>(bits)); };
  if (rune < 0x80) {
    put(rune);
  } else if (rune < 0x800) {
    put(0xc0 | (rune >> 6));
    put(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    put(0xe0 | (rune >> 12));
    put(0x80 | ((rune >> 6) & 0x3f));
    put(0x80 | (rune & 0x3f));
  } else {
    put(0xf0 | (rune >> 18));
    put(0x80 | ((rune >> 12) & 0x3f));
    put(0x80 | ((rune >> 6) & 0x3f));
    put(0x80 | (rune & 0x3f));
  }
}

bool valid_utf8(std::string_view text) {
  for (std::size_t size = 0; !text.empty(); text.remove_prefix(size)) {
    if (decode_rune(text, &size) == kRuneError && size == 1) {
      return false;
    }
  }
  return true;
}

std::size_t rune_count(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t size = 0; !text.empty(); text.remove_prefix(size)) {
    (void)decode_rune(text, &size);
    ++count;
  }
  return count;
}

bool is_upper(Rune rune) {
  return rune < 0x80 ? rune >= 'A' && rune <= 'Z' : in_class(rune, iswupper_l, false);
}

bool is_lower(Rune rune) {
  return rune < 0x80 ? rune >= 'a' && rune <= 'z' : in_class(rune, iswlower_l, false);
}

bool is_digit(Rune rune) {
  // The C library counts digits of other scripts as letters, as far as this is concerned; the
  // template language accepts both wherever it accepts one.
  return rune >= '0' && rune <= '9';
}

bool is_letter(Rune rune) {
  if (rune < 0x80) {
    return is_upper(rune) || is_lower(rune);
  }
  return in_class(rune, iswalpha_l, rune > 0xff);
}

bool is_space(Rune rune) {
  switch (rune) {
    case ' ':
    case 0x85:
    case 0xa0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202f:
    case 0x205f:
    case 0x3000:
      return true;
    default:
      return (rune >= '\t' && rune <= '\r') || (rune >= 0x2000 && rune <= 0x200a);
  }
}

bool is_punct(Rune rune) {
  if (rune < 0x80) {
    return std::string_view("!\"#%&'()*,-./:;?@[\\]_{}").find(static_cast<char>(rune)) !=
               std::string_view::npos &&
           rune != 0;
  }
  // The C library counts symbols as punctuation; most of those that matter are in blocks of theirs.
  if ((rune >= 0x20a0 && rune <= 0x20cf) || (rune >= 0x2100 && rune <= 0x2bff) || rune >= 0x1f000) {
    return false;
  }
  return in_class(rune, iswpunct_l, false);
}

bool is_print(Rune rune) {
  if (rune < 0x80) {
    return rune >= ' ' && rune < 0x7f;
  }
  bool format = rune == 0xad || (rune >= 0x200b && rune <= 0x200f) ||
                (rune >= 0x202a && rune <= 0x202e) || (rune >= 0x2060 && rune <= 0x206f) ||
                rune == 0xfeff || (rune >= 0xfff9 && rune <= 0xfffb) ||
                (rune >= 0xe0000 && rune <= 0xe0fff && !(rune >= 0xe0100 && rune <= 0xe01ef));
  bool private_use = (rune >= 0xe000 && rune <= 0xf8ff) || rune >= 0xf0000;
  if (rune <= 0xa0 || format || private_use || is_space(rune) || surrogate(rune)) {
    return false;
  }
  return in_class(rune, iswprint_l, true);
}

Rune to_upper(Rune rune) {
  if (rune < 0x80) {
    return is_lower(rune) ? rune - 32 : rune;
  }
  locale_t locale = utf8_locale();
  return locale == nullptr ? rune
                           : static_cast<Rune>(towupper_l(static_cast<wint_t>(rune), locale));
}

Rune to_lower(Rune rune) {
  if (rune < 0x80) {
    return is_upper(rune) ? rune + 32 : rune;
  }
  locale_t locale = utf8_locale();
  return locale == nullptr ? rune
                           : static_cast<Rune>(towlower_l(static_cast<wint_t>(rune), locale));
}

std::string quote(std::string_view text, bool ascii) {
  std::string out = "\"";
  for (std::size_t size = 0; !text.empty(); text.remove_prefix(size)) {
    Rune rune = decode_rune(text, &size);
    if (rune == kRuneError && size == 1) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else {
      append_escaped(out, rune, '"', ascii);
    }
  }
  return out + '"';
}

std::string quote_rune(Rune rune, bool ascii) {
  std::string out = "'";
  append_escaped(out, rune < 0 || rune > kRuneMax || surrogate(rune) ? kRuneError : rune, '\'',
                 ascii);
  return out + '\'';
}

Result<Rune> unquote_char(std::string_view text, char quote, bool* multibyte,
                          std::string_view* tail) {
  *multibyte = false;
  if (text.empty() || (text[0] == quote && (quote == '\'' || quote == '"'))) {
    return invalid_syntax();
  }
  if (static_cast<unsigned char>(text[0]) >= 0x80) {
    std::size_t size = 0;
    Rune rune = decode_rune(text, &size);
    *multibyte = true;
    *tail = text.substr(size);
    return rune;
  }
  if (text[0] != '\\') {
    *tail = text.substr(1);
    return Rune{text[0]};
  }
  if (text.size() < 2) {
    return invalid_syntax();
  }
  char letter = text[1];
  std::string_view rest = text.substr(2);
  constexpr std::string_view kLetters = "abtnvfr";
  if (std::size_t at = kLetters.find(letter); at != std::string_view::npos) {
    *tail = rest;
    return static_cast<Rune>(7 + at);
  }
  switch (letter) {
    case 'x':
      return unquote_number(rest, 2, 16, tail);
    case 'u':
    case 'U': {
      *multibyte = true;
      Rune rune = TRY(unquote_number(rest, letter == 'u' ? 4 : 8, 16, tail));
      if (surrogate(rune)) {
        return invalid_syntax();
      }
      return rune;
    }
    case '\\':
      *tail = rest;
      return Rune{'\\'};
    case '\'':
    case '"':
      if (letter != quote) {
        return invalid_syntax();
      }
      *tail = rest;
      return Rune{letter};
    default:
      break;
  }
  if (letter < '0' || letter > '7') {
    return invalid_syntax();
  }
  Rune rune = TRY(unquote_number(text.substr(1), 3, 8, tail));
  if (rune > 255) {
    return invalid_syntax();
  }
  return rune;
}

Result<std::string> unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != text.back()) {
    return invalid_syntax();
  }
  char mark = text.front();
  std::string_view body = text.substr(1, text.size() - 2);
  std::string out;
  if (mark == '`') {
    for (char c : body) {
      if (c != '\r') {
        out += c;
      }
    }
    return out;
  }
  while (!body.empty()) {
    bool multibyte = false;
    Rune rune = TRY(unquote_char(body, mark, &multibyte, &body));
    if (multibyte) {
      append_rune(out, rune);
    } else {
      out += static_cast<char>(static_cast<unsigned char>(rune));
    }
  }
  return out;
}

}  // namespace steeple::gotemplate
