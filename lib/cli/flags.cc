// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace steeple::cli {
namespace {

// Go's %q of a flag's value: printable text in quotes.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

// strconv.ParseInt(text, 0, bits), told as the flag package does: "parse error" or "value out of
// range".
template <class N>
Result<N> parse_integer(const std::string& text) {
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) {
    rest.remove_prefix(1);
  }
  int base = 10;
  if (rest.size() > 1 && rest[0] == '0') {
    char kind = static_cast<char>(rest[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    rest.remove_prefix(kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1);
  }
  std::string digits = (negative ? "-" : "") + std::string(rest);
  N value{};
  auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (problem == std::errc::result_out_of_range) {
    return invalid_argument("value out of range");
  }
  if (rest.empty() || rest[0] == '-' || problem != std::errc() ||
      end != digits.data() + digits.size()) {
    return invalid_argument("parse error");
  }
  return value;
}

Result<bool> parse_bool(const std::string& text) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) {
      return true;
    }
  }
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) {
      return false;
    }
  }
  return invalid_argument("parse error");
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> out;
  std::size_t from = 0;
  for (std::size_t at; (at = text.find(',', from)) != std::string::npos; from = at + 1) {
    out.push_back(text.substr(from, at - from));
  }
  out.push_back(text.substr(from));
  return out;
}

// A `name` in the usage is the value's name there and loses its quotes.
std::pair<std::string, std::string> unquote_usage(const std::string& usage,
                                                  const std::string& type) {
  std::size_t open = usage.find('`');
  std::size_t close = open == std::string::npos ? open : usage.find('`', open + 1);
  if (close == std::string::npos) {
    return {type, usage};
  }
  std::string name = usage.substr(open + 1, close - open - 1);
  return {name, usage.substr(0, open) + name + usage.substr(close + 1)};
}

}  // namespace

void FlagSet::add_flag(Flag flag) {
  auto place = std::lower_bound(flags_.begin(), flags_.end(), flag,
                                [](const Flag& a, const Flag& b) { return a.name < b.name; });
  CHECK(place == flags_.end() || place->name != flag.name);
  flags_.insert(place, std::move(flag));
}

void FlagSet::add(std::string name, std::string* target, std::string usage) {
  add_flag({.name = std::move(name),
            .type = "string",
            .usage = std::move(usage),
            .shown_default = target->empty() ? "" : quoted(*target),
            .set = [target](const std::string& text) -> Result<void> {
              *target = text;
              return {};
            }});
}

void FlagSet::add(std::string name, bool* target, std::string usage) {
  add_flag({.name = std::move(name),
            .type = {},
            .usage = std::move(usage),
            .shown_default = *target ? "true" : "",
            .set = [target](const std::string& text) -> Result<void> {
              *target = TRY(parse_bool(text));
              return {};
            },
            .is_bool = true});
}

void FlagSet::add(std::string name, int* target, std::string usage) {
  add_flag({.name = std::move(name),
            .type = "int",
            .usage = std::move(usage),
            .shown_default = *target == 0 ? "" : std::to_string(*target),
            .set = [target](const std::string& text) -> Result<void> {
              *target = TRY(parse_integer<int>(text));
              return {};
            }});
}

void FlagSet::add(std::string name, std::int64_t* target, std::string usage) {
  add_flag({.name = std::move(name),
            .type = "int",
            .usage = std::move(usage),
            .shown_default = *target == 0 ? "" : std::to_string(*target),
            .set = [target](const std::string& text) -> Result<void> {
              *target = TRY(parse_integer<std::int64_t>(text));
              return {};
            }});
}

void FlagSet::add(std::string name, Duration* target, std::string usage) {
  add_flag({.name = std::move(name),
            .type = "duration",
            .usage = std::move(usage),
            .shown_default = *target == Duration(0) ? "" : format_go_duration(*target),
            .set = [target](const std::string& text) -> Result<void> {
              auto parsed = parse_go_duration(text);
              if (!parsed.ok()) {
                return invalid_argument("parse error");
              }
              *target = *parsed;
              return {};
            }});
}

void FlagSet::add_duration_value(std::string name, Duration* target, std::string usage) {
  add_flag({.name = std::move(name),
            .type = "value",
            .usage = std::move(usage),
            .shown_default = *target == Duration(0) ? "" : format_go_duration(*target),
            .set = [target](const std::string& text) -> Result<void> {
              *target = TRY(parse_go_duration(text));
              return {};
            }});
}

void FlagSet::add(std::string name, std::vector<std::string>* target, std::string usage) {
  std::string shown;
  if (!target->empty()) {
    shown = fmt::format("[{}]", fmt::join(*target, " "));
  }
  add_flag({.name = std::move(name),
            .type = "value",
            .usage = std::move(usage),
            .shown_default = std::move(shown),
            .set = [target](const std::string& text) -> Result<void> {
              target->push_back(text);
              return {};
            }});
}

void FlagSet::add_comma_list(std::string name, std::vector<std::string>* target,
                             std::string usage) {
  add_flag({.name = std::move(name),
            .type = "value",
            .usage = std::move(usage),
            .shown_default = fmt::format("{}", fmt::join(*target, ",")),
            .set = [target](const std::string& text) -> Result<void> {
              *target = split_commas(text);
              return {};
            }});
}

void FlagSet::add_value(std::string name, std::function<Result<void>(const std::string& text)> set,
                        std::string usage, std::string default_text) {
  add_flag({.name = std::move(name),
            .type = "value",
            .usage = std::move(usage),
            .shown_default = std::move(default_text),
            .set = std::move(set)});
}

FlagSet::Flag* FlagSet::find(std::string_view name) {
  auto found = std::find_if(flags_.begin(), flags_.end(),
                            [&](const Flag& flag) { return flag.name == name; });
  return found == flags_.end() ? nullptr : &*found;
}

bool FlagSet::was_set(std::string_view name) const {
  return std::any_of(flags_.begin(), flags_.end(),
                     [&](const Flag& flag) { return flag.name == name && flag.given; });
}

// Takes one flag off the front; false when what is left is no flag.
Result<bool> FlagSet::parse_one(std::span<const std::string>& arguments) {
  if (arguments.empty()) {
    return false;
  }
  const std::string& argument = arguments[0];
  if (argument.size() < 2 || argument[0] != '-') {
    return false;
  }
  std::size_t dashes = argument[1] == '-' ? 2 : 1;
  if (dashes == 2 && argument.size() == 2) {
    arguments = arguments.subspan(1);
    return false;
  }
  std::string name = argument.substr(dashes);
  if (name.empty() || name[0] == '-' || name[0] == '=') {
    return invalid_argument("bad flag syntax: " + argument);
  }
  arguments = arguments.subspan(1);
  std::optional<std::string> value;
  if (std::size_t equals = name.find('=', 1); equals != std::string::npos) {
    value = name.substr(equals + 1);
    name.resize(equals);
  }
  Flag* flag = find(name);
  if (flag == nullptr) {
    return name == "help" || name == "h"
               ? cancelled("flag: help requested")
               : invalid_argument("flag provided but not defined: -" + name);
  }
  std::string_view kind = flag->is_bool ? "boolean " : "";
  if (flag->is_bool && !value) {
    value = "true";
  } else if (!value) {
    if (arguments.empty()) {
      return invalid_argument("flag needs an argument: -" + name);
    }
    value = arguments[0];
    arguments = arguments.subspan(1);
  }
  auto set = flag->set(*value);
  if (!set.ok()) {
    std::string_view join = flag->is_bool ? "for" : "for flag";
    return invalid_argument(fmt::format("invalid {}value {} {} -{}: {}", kind, quoted(*value), join,
                                        name, set.error().message));
  }
  flag->given = true;
  return true;
}

Result<void> FlagSet::parse(std::span<const std::string> arguments, std::string& printed) {
  while (true) {
    auto more = parse_one(arguments);
    if (!more.ok()) {
      if (more.error().code != Code::kCancelled) {
        printed += more.error().message + "\n";
      }
      printed += usage();
      return std::move(more).error();
    }
    if (!*more) {
      rest_.assign(arguments.begin(), arguments.end());
      return {};
    }
  }
}

std::string FlagSet::usage() const {
  std::string out = name_.empty() ? "Usage:\n" : fmt::format("Usage of {}:\n", name_);
  for (const Flag& flag : flags_) {
    auto [name, usage] = unquote_usage(flag.usage, flag.type);
    std::string line = "  -" + flag.name;
    if (!name.empty()) {
      line += " " + name;
    }
    // A one-letter bool has its usage on the same line.
    line += line.size() <= 4 ? "\t" : "\n    \t";
    for (char c : usage) {
      line += c == '\n' ? std::string("\n    \t") : std::string(1, c);
    }
    if (!flag.shown_default.empty()) {
      line += fmt::format(" (default {})", flag.shown_default);
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace steeple::cli
