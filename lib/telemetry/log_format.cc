// SPDX-License-Identifier: Apache-2.0

// logrus's TextFormatter (output that is no terminal) and JSONFormatter, byte for byte.

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "lib/telemetry/log_output.h"

namespace steeple {
namespace {

// One UTF-8 character; bytes == 0 when the text does not start with a valid one.
struct Rune {
  std::uint32_t point = 0;
  std::size_t bytes = 0;
};

Rune next_rune(std::string_view text) {
  auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  std::uint32_t lead = byte(0);
  if (lead < 0x80) {
    return {lead, 1};
  }
  std::size_t count = lead >= 0xF0 && lead < 0xF5   ? 4
                      : lead >= 0xE0 && lead < 0xF0 ? 3
                      : lead >= 0xC2 && lead < 0xE0 ? 2
                                                    : 0;
  if (count == 0) {
    return {};
  }
  std::uint32_t point = lead & (0xFFU >> (count + 1));
  for (std::size_t i = 1; i < count; ++i) {
    if ((byte(i) & 0xC0) != 0x80) {
      return {};
    }
    point = (point << 6) | (byte(i) & 0x3F);
  }
  bool wrong = (count == 3 && (point < 0x800 || (point >= 0xD800 && point < 0xE000))) ||
               (count == 4 && (point < 0x10000 || point > 0x10FFFF));
  return wrong ? Rune{} : Rune{point, count};
}

// What Go's %q would escape though it is valid: controls, odd blanks, formats, private use.
bool unprintable(std::uint32_t point) {
  return (point >= 0x80 && point <= 0xA0) || point == 0xAD ||
         (point >= 0x2000 && point <= 0x200F) || (point >= 0x2028 && point <= 0x202F) ||
         (point >= 0x205F && point <= 0x206F) || point == 0x3000 ||
         (point >= 0xE000 && point <= 0xF8FF) || point == 0xFEFF ||
         (point >= 0xFFF0 && point <= 0xFFFB) || (point & 0xFFFE) == 0xFFFE || point >= 0xE0000;
}

char short_escape(char c) {
  constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"";
  constexpr std::string_view kNames = "abfnrtv\\\"";
  std::size_t index = kValues.find(c);
  return index == std::string_view::npos ? '\0' : kNames[index];
}

// strconv.Quote.
void quote_go(std::string_view text, std::string& out) {
  out += '"';
  while (!text.empty()) {
    Rune rune = next_rune(text);
    auto first = static_cast<unsigned char>(text[0]);
    if (rune.bytes == 0) {
      out += fmt::format("\\x{:02x}", first);
      text.remove_prefix(1);
      continue;
    }
    if (rune.bytes == 1 && short_escape(text[0]) != '\0') {
      out += '\\';
      out += short_escape(text[0]);
    } else if (first < 0x20 || first == 0x7F) {
      out += fmt::format("\\x{:02x}", first);
    } else if (rune.bytes > 1 && unprintable(rune.point)) {
      out += rune.point < 0x10000 ? fmt::format("\\u{:04x}", rune.point)
                                  : fmt::format("\\U{:08x}", rune.point);
    } else {
      out += text.substr(0, rune.bytes);
    }
    text.remove_prefix(rune.bytes);
  }
  out += '"';
}

// encoding/json with HTML escapes.
void quote_json(std::string_view text, std::string& out) {
  out += '"';
  while (!text.empty()) {
    Rune rune = next_rune(text);
    char c = text[0];
    std::size_t width = std::max<std::size_t>(rune.bytes, 1);
    constexpr std::string_view kShort = "\b\f\n\r\t\\\"";
    if (rune.bytes == 0) {
      out += "\\ufffd";
    } else if (rune.bytes == 1 && kShort.contains(c)) {
      out += '\\';
      out += short_escape(c);
    } else if (rune.point < 0x20 || c == '<' || c == '>' || c == '&' || rune.point == 0x2028 ||
               rune.point == 0x2029) {
      out += fmt::format("\\u{:04x}", rune.point);
    } else {
      out += text.substr(0, width);
    }
    text.remove_prefix(width);
  }
  out += '"';
}

bool needs_quoting(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             std::string_view("-._/@^+").contains(c));
  });
}

std::string plain(const LogField::Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    return *text;
  }
  return std::visit(
      [](const auto& other) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(other)>, bool>) {
          return other ? "true" : "false";
        } else {
          return fmt::format("{}", other);
        }
      },
      value);
}

void append_text(std::string_view key, std::string_view value, std::string& out) {
  if (!out.empty()) {
    out += ' ';
  }
  out += key;
  out += '=';
  if (needs_quoting(value)) {
    quote_go(value, out);
  } else {
    out += value;
  }
}

// RFC 3339 in local time, as Go prints it: "Z" for no offset, a fraction without trailing zeros.
std::string format_time(WallTime time, bool nanoseconds) {
  auto whole = std::chrono::floor<std::chrono::seconds>(time);
  auto fraction = (time - whole).count();
  std::time_t seconds = whole.time_since_epoch().count();
  std::tm local{};
  localtime_r(&seconds, &local);
  std::string out =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", local.tm_year + 1900, local.tm_mon + 1,
                  local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
  if (nanoseconds && fraction > 0) {
    out += fmt::format(".{:09}", fraction);
    out.erase(out.find_last_not_of('0') + 1);
  }
  long offset = local.tm_gmtoff / 60;
  if (offset == 0) {
    return out + "Z";
  }
  return out + fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+', std::abs(offset) / 60,
                           std::abs(offset) % 60);
}

struct Item {
  std::string key;
  LogField::Value value;
};

// The fields by name; those that clash with logrus's own are renamed as logrus does.
std::vector<Item> sorted_fields(const LogEntry& entry, bool source_location) {
  std::vector<Item> out;
  for (const LogField* field : entry.fields) {
    bool clash = field->key == "time" || field->key == "msg" || field->key == "level" ||
                 field->key == "logrus_error";
    out.push_back({clash ? "fields." + field->key : field->key, field->value});
  }
  if (source_location) {
    std::string_view file = entry.where.file_name();
    file.remove_prefix(file.rfind('/') == std::string_view::npos ? 0 : file.rfind('/') + 1);
    std::erase_if(out, [](const Item& item) { return item.key == "file" || item.key == "func"; });
    out.push_back({"file", fmt::format("{}:{}", file, entry.where.line())});
    out.push_back({"func", std::string(entry.where.function_name())});
  }
  std::sort(out.begin(), out.end(), [](const Item& a, const Item& b) { return a.key < b.key; });
  return out;
}

}  // namespace

std::string format_log_text(const LogEntry& entry, bool nanoseconds, bool source_location) {
  std::string out;
  append_text("time", format_time(entry.time, nanoseconds), out);
  append_text("level", log_level_name(entry.level), out);
  if (!entry.message.empty()) {
    append_text("msg", entry.message, out);
  }
  for (const Item& item : sorted_fields(entry, source_location)) {
    append_text(item.key, plain(item.value), out);
  }
  out += '\n';
  return out;
}

std::string format_log_json(const LogEntry& entry, bool source_location) {
  auto items = sorted_fields(entry, source_location);
  items.push_back({"level", std::string(log_level_name(entry.level))});
  items.push_back({"msg", std::string(entry.message)});
  items.push_back({"time", format_time(entry.time, true)});
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.key < b.key; });
  std::string out;
  for (const Item& item : items) {
    out += out.empty() ? '{' : ',';
    quote_json(item.key, out);
    out += ':';
    if (const auto* text = std::get_if<std::string>(&item.value)) {
      quote_json(*text, out);
    } else {
      out += plain(item.value);
    }
  }
  return out + "}\n";
}

}  // namespace steeple
