// SPDX-License-Identifier: Apache-2.0

// sprig's functions of strings and paths. Lengths and offsets are bytes where sprig's are.

#include <fmt/format.h>

#include "lib/base/bytes.h"
#include "lib/gotemplate/print.h"
#include "lib/gotemplate/sprig_parts.h"
#include "lib/gotemplate/template.h"
#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

using Arguments = std::span<const Value>;

Error out_of_range() { return invalid_argument("runtime error: slice bounds out of range"); }

template <class Map>
std::string mapped(std::string_view text, Map map) {
  std::string out;
  for (std::size_t size = 0; !text.empty(); text.remove_prefix(size)) {
    append_rune(out, map(decode_rune(text, &size)));
  }
  return out;
}

std::string upper(std::string_view text) { return mapped(text, to_upper); }
std::string lower(std::string_view text) { return mapped(text, to_lower); }

// Words start after a space or anything that is no letter, digit, underscore.
std::string title(std::string_view text) {
  Rune last = ' ';
  return mapped(text, [&last](Rune rune) {
    bool ascii = last < 0x80;
    bool word = last == '_' || is_letter(last) || is_digit(last);
    bool separator = ascii ? !word : !word && is_space(last);
    last = rune;
    return separator ? to_upper(rune) : rune;
  });
}

std::string untitle(std::string_view text) {
  bool next = true;
  return mapped(text, [&next](Rune rune) {
    bool first = std::exchange(next, is_space(rune));
    return first && !is_space(rune) ? to_lower(rune) : rune;
  });
}

std::string swapcase(std::string_view text) {
  bool blank = true;
  return mapped(text, [&blank](Rune rune) {
    if (is_upper(rune)) {
      blank = false;
      return to_lower(rune);
    }
    if (is_lower(rune)) {
      blank = false;
      return to_upper(rune);
    }
    blank = is_space(rune);
    return rune;
  });
}

std::string initials(std::string_view text) {
  std::string out;
  bool gap = true;
  for (char c : text) {
    Rune rune = static_cast<unsigned char>(c);
    if (is_space(rune)) {
      gap = true;
    } else if (std::exchange(gap, false)) {
      append_rune(out, rune);
    }
  }
  return out;
}

std::string nospace(std::string_view text) {
  std::string out;
  for (char c : text) {
    Rune rune = static_cast<unsigned char>(c);
    if (!is_space(rune)) {
      append_rune(out, rune);
    }
  }
  return out.size() == text.size() ? std::string(text) : out;
}

std::string trim(std::string_view text) {
  while (!text.empty()) {
    std::size_t size = 0;
    if (!is_space(decode_rune(text, &size))) {
      break;
    }
    text.remove_prefix(size);
  }
  // From the back, over the bytes of one rune at most.
  for (bool more = true; more && !text.empty();) {
    more = false;
    for (std::size_t length = 1; length <= std::min<std::size_t>(3, text.size()); ++length) {
      std::size_t size = 0;
      Rune rune = decode_rune(text.substr(text.size() - length), &size);
      if (size == length && is_space(rune)) {
        text.remove_suffix(length);
        more = true;
        break;
      }
    }
  }
  return std::string(text);
}

std::string trim_all(std::string_view set, std::string_view text) {
  auto in_set = [&](std::string_view rune) { return set.find(rune) != std::string_view::npos; };
  std::size_t size = 0;
  while (!text.empty() && (decode_rune(text, &size), in_set(text.substr(0, size)))) {
    text.remove_prefix(size);
  }
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) {
      --start;
    }
    if (!in_set(text.substr(start))) {
      break;
    }
    text.remove_suffix(text.size() - start);
  }
  return std::string(text);
}

Result<std::string> replaced(std::string_view text, std::string_view old, std::string_view with) {
  std::string out;
  auto full = [&] { return out.size() > kOutputBytesMax; };
  if (old.empty()) {
    for (std::size_t size = 0; !text.empty() && !full(); text.remove_prefix(size)) {
      (void)decode_rune(text, &size);
      out += with;
      out += text.substr(0, size);
    }
    out += with;
  } else {
    for (std::size_t at = text.find(old); at != std::string_view::npos && !full();
         at = text.find(old)) {
      out += text.substr(0, at);
      out += with;
      text.remove_prefix(at + old.size());
    }
    out += text;
  }
  if (full()) {
    return resource_exhausted("text of more than 1 MiB");
  }
  return out;
}

std::string abbreviate(std::string_view text, std::int64_t offset, std::int64_t width) {
  auto size = static_cast<std::int64_t>(text.size());
  if (size <= width) {
    return std::string(text);
  }
  auto part = [&](std::int64_t from, std::int64_t count) {
    return std::string(
        text.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(count)));
  };
  offset = std::min(offset, size);
  if (size - offset < width - 3) {
    offset = size - (width - 3);
  }
  if (offset <= 4) {
    return part(0, width - 3) + "...";
  }
  if (offset + width - 3 < size) {
    return "..." + abbreviate(text.substr(static_cast<std::size_t>(offset)), 0, width - 3);
  }
  return "..." + part(size - (width - 3), width - 3);
}

Result<Value> substring(Arguments a, Budget&) {
  std::int64_t start = a[0].integer();
  std::int64_t end = a[1].integer();
  const std::string& text = a[2].text();
  auto size = static_cast<std::int64_t>(text.size());
  if (start < 0) {
    start = 0;
  } else if (end < 0 || end > size) {
    end = size;
  }
  if (end < 0 || end > size || start > end) {
    return out_of_range();
  }
  return Value(text.substr(static_cast<std::size_t>(start), static_cast<std::size_t>(end - start)));
}

Result<Value> trunc(Arguments a, Budget&) {
  std::int64_t count = a[0].integer();
  const std::string& text = a[1].text();
  auto size = static_cast<std::int64_t>(text.size());
  if (count < 0 && size + count > 0) {
    return Value(text.substr(static_cast<std::size_t>(size + count)));
  }
  return Value(count >= 0 && size > count ? text.substr(0, static_cast<std::size_t>(count)) : text);
}

Result<std::string> repeated(std::string_view text, std::int64_t count) {
  if (count < 0) {
    return invalid_argument("strings: negative Repeat count");
  }
  if (!text.empty() && static_cast<std::uint64_t>(count) > kOutputBytesMax / text.size()) {
    return resource_exhausted("text of more than 1 MiB");
  }
  std::string out;
  for (std::int64_t i = 0; i < count && !text.empty(); ++i) {
    out += text;
  }
  return out;
}

std::string wrapped(std::string_view text, std::int64_t limit, std::string_view line_end,
                    bool long_words) {
  if (line_end.empty()) {
    line_end = "\n";
  }
  std::size_t width =
      limit < 1 ? 1
                : static_cast<std::size_t>(std::min<std::int64_t>(limit, std::int64_t{1} << 30));
  std::string out;
  while (text.size() > width) {
    if (text[0] == ' ') {
      text.remove_prefix(1);
      continue;
    }
    std::size_t space = text.substr(0, width + 1).rfind(' ');
    if (space == std::string_view::npos && !long_words) {
      space = text.find(' ', width);
      if (space == std::string_view::npos) {
        break;
      }
    }
    std::size_t cut = space == std::string_view::npos ? width : space;
    out += text.substr(0, cut);
    out += line_end;
    text.remove_prefix(space == std::string_view::npos ? cut : cut + 1);
  }
  return out.append(text);
}

std::string path_clean(std::string_view path) {
  if (path.empty()) {
    return ".";
  }
  bool rooted = path[0] == '/';
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(part.size() + 1, path.size()));
    if (part == "..") {
      if (!parts.empty() && parts.back() != "..") {
        parts.pop_back();
      } else if (!rooted) {
        parts.push_back(part);
      }
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
  }
  std::string out = rooted ? "/" : "";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    out += i > 0 ? "/" : "";
    out += parts[i];
  }
  return out.empty() ? "." : out;
}

std::string path_base(std::string_view path) {
  if (path.empty()) {
    return ".";
  }
  while (path.ends_with('/')) {
    path.remove_suffix(1);
  }
  std::size_t slash = path.rfind('/');
  path = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return path.empty() ? "/" : std::string(path);
}

std::string path_ext(std::string_view path) {
  std::size_t mark = path.find_last_of("./");
  return mark == std::string_view::npos || path[mark] == '/' ? "" : std::string(path.substr(mark));
}

std::string base32(std::string_view bytes) {
  std::string out;
  std::uint64_t bits = 0;
  int count = 0;
  for (char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    for (count += 8; count >= 5; count -= 5) {
      out += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bits >> (count - 5)) & 31];
    }
  }
  if (count > 0) {
    out += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bits << (5 - count)) & 31];
  }
  out.append((8 - out.size() % 8) % 8, '=');
  return out;
}

Result<Value> quoted(Arguments a, Budget&) {
  std::string out;
  for (const Value& value : a) {
    if (value.valid()) {
      out += (out.empty() ? "" : " ") + quote(TRY(sprig_text(value)));
    }
  }
  return Value(std::move(out));
}

Result<Value> single_quoted(Arguments a, Budget&) {
  std::string out;
  for (const Value& value : a) {
    if (value.valid()) {
      out += (out.empty() ? "'" : " '") + TRY(print_value(value)) + "'";
    }
  }
  return Value(std::move(out));
}

Result<Value> cat(Arguments a, Budget&) {
  std::string out;
  bool first = true;
  for (const Value& value : a) {
    if (value.valid()) {
      out += (std::exchange(first, false) ? "" : " ") + TRY(print_value(value));
    }
  }
  return Value(std::move(out));
}

Result<Value> split_list(Arguments a, Budget& budget) {
  std::string_view separator = a[0].text();
  std::string_view text = a[1].text();
  std::vector<std::string> parts;
  TRY(budget.spend(text.size() / 8));
  if (separator.empty()) {
    for (std::size_t size = 0; !text.empty(); text.remove_prefix(size)) {
      (void)decode_rune(text, &size);
      parts.emplace_back(text.substr(0, size));
    }
    return budget.keep(Value::strings(parts));
  }
  for (std::size_t at = text.find(separator); at != std::string_view::npos;
       at = text.find(separator)) {
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.emplace_back(text);
  return budget.keep(Value::strings(parts));
}

Result<Value> join(Arguments a, Budget&) {
  std::string out;
  bool first = true;
  for (const std::string& text : TRY(sprig_texts(a[1]))) {
    out += std::exchange(first, false) ? "" : a[0].text();
    out += text;
    if (out.size() > kOutputBytesMax) {
      return resource_exhausted("text of more than 1 MiB");
    }
  }
  return Value(std::move(out));
}

Result<Value> indent(std::int64_t spaces, const std::string& text, std::string_view before) {
  std::string pad = TRY(repeated(" ", spaces));
  return Value(std::string(before) + pad + TRY(replaced(text, "\n", "\n" + pad)));
}

// Functions of one text that cannot fail.
void add_plain(Functions& table) {
  auto plain = [&](const char* name, std::string (*change)(std::string_view)) {
    table[name] = sprig_function("s", [change](Arguments a, Budget&) -> Result<Value> {
      return Value(change(a[0].text()));
    });
  };
  plain("trim", trim);
  plain("upper", upper);
  plain("lower", lower);
  plain("title", title);
  plain("untitle", untitle);
  plain("swapcase", swapcase);
  plain("initials", initials);
  plain("nospace", nospace);
  plain("base", path_base);
  plain("clean", path_clean);
  plain("ext", path_ext);
  plain("dir", [](std::string_view path) {
    std::size_t slash = path.rfind('/');
    return path_clean(slash == std::string_view::npos ? "" : path.substr(0, slash + 1));
  });
  plain("b64enc", [](std::string_view text) { return base64_encode(text); });
  plain("b32enc", base32);
  plain("regexQuoteMeta", [](std::string_view text) {
    std::string out;
    for (char c : text) {
      out += std::string_view("\\.+*?()|[]{}^$").find(c) == std::string_view::npos ? "" : "\\";
      out += c;
    }
    return out;
  });
  table["isAbs"] = sprig_function("s", [](Arguments a, Budget&) -> Result<Value> {
    return Value(a[0].text().starts_with('/'));
  });
}

void add_tests(Functions& table) {
  auto test = [&](const char* name, bool (*holds)(std::string_view, std::string_view)) {
    table[name] = sprig_function("ss", [holds](Arguments a, Budget&) -> Result<Value> {
      return Value(holds(a[1].text(), a[0].text()));
    });
  };
  test("contains", [](std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
  });
  test("hasPrefix",
       [](std::string_view text, std::string_view part) { return text.starts_with(part); });
  test("hasSuffix",
       [](std::string_view text, std::string_view part) { return text.ends_with(part); });
}

void add_cutting(Functions& table) {
  table["trunc"] = sprig_function("is", trunc);
  table["substr"] = sprig_function("iis", substring);
  table["abbrev"] = sprig_function("is", [](Arguments a, Budget&) -> Result<Value> {
    return Value(a[0].integer() < 4 ? a[1].text() : abbreviate(a[1].text(), 0, a[0].integer()));
  });
  table["abbrevboth"] = sprig_function("iis", [](Arguments a, Budget&) -> Result<Value> {
    std::int64_t left = a[0].integer();
    std::int64_t right = a[1].integer();
    bool short_of = right < 4 || (left > 0 && right < 7);
    return Value(short_of ? a[2].text() : abbreviate(a[2].text(), left, right));
  });
  table["trimAll"] = sprig_function("ss", [](Arguments a, Budget&) -> Result<Value> {
    return Value(trim_all(a[0].text(), a[1].text()));
  });
  table["trimSuffix"] = sprig_function("ss", [](Arguments a, Budget&) -> Result<Value> {
    const std::string& text = a[1].text();
    bool ends = text.ends_with(a[0].text());
    return Value(text.substr(0, text.size() - (ends ? a[0].text().size() : 0)));
  });
  table["trimPrefix"] = sprig_function("ss", [](Arguments a, Budget&) -> Result<Value> {
    const std::string& text = a[1].text();
    return Value(text.substr(text.starts_with(a[0].text()) ? a[0].text().size() : 0));
  });
}

void add_building(Functions& table) {
  table["repeat"] = sprig_function("is", [](Arguments a, Budget&) -> Result<Value> {
    return Value(TRY(repeated(a[1].text(), a[0].integer())));
  });
  table["wrap"] = sprig_function("is", [](Arguments a, Budget&) -> Result<Value> {
    return Value(wrapped(a[1].text(), a[0].integer(), "", false));
  });
  table["wrapWith"] = sprig_function("iss", [](Arguments a, Budget&) -> Result<Value> {
    return Value(wrapped(a[2].text(), a[0].integer(), a[1].text(), true));
  });
  table["quote"] = sprig_function("a+", quoted);
  table["squote"] = sprig_function("a+", single_quoted);
  table["cat"] = sprig_function("a+", cat);
  table["indent"] = sprig_function(
      "is", [](Arguments a, Budget&) { return indent(a[0].integer(), a[1].text(), ""); });
  table["nindent"] = sprig_function(
      "is", [](Arguments a, Budget&) { return indent(a[0].integer(), a[1].text(), "\n"); });
  table["replace"] = sprig_function("sss", [](Arguments a, Budget&) -> Result<Value> {
    return Value(TRY(replaced(a[2].text(), a[0].text(), a[1].text())));
  });
  table["plural"] = sprig_function("ssi", [](Arguments a, Budget&) -> Result<Value> {
    return a[2].integer() == 1 ? a[0] : a[1];
  });
  table["toString"] = sprig_function(
      "a", [](Arguments a, Budget&) -> Result<Value> { return Value(TRY(sprig_text(a[0]))); });
  table["toStrings"] = sprig_function("a", [](Arguments a, Budget& budget) -> Result<Value> {
    return budget.keep(Value::strings(TRY(sprig_texts(a[0]))));
  });
  table["splitList"] = sprig_function("ss", split_list);
  table["join"] = sprig_function("sa", join);
}

}  // namespace

void add_sprig_strings(Functions& table) {
  add_plain(table);
  add_tests(table);
  add_cutting(table);
  add_building(table);
}

}  // namespace steeple::gotemplate
