// SPDX-License-Identifier: Apache-2.0

#include "lib/hcl/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace steeple::hcl::detail {
namespace {

std::string shown(const Value& value, const KeyOptions& options) {
  if (options.secret) {
    return "value";
  }
  return value.kind == Kind::kBool ? (value.boolean ? "true" : "false")
                                   : fmt::format("\"{}\"", value.text);
}

void report_type(const Value& value, Context& context, std::string_view wanted) {
  report_bad(value, context, fmt::format("is a {}, expected a {}", kind_name(value.kind), wanted));
}

// A scalar's text, or nothing (reported) for lists and blocks. One-element lists count as scalars.
std::optional<std::string> scalar_text(const Value& value, Context& context,
                                       std::string_view wanted) {
  switch (value.kind) {
    case Kind::kString:
    case Kind::kNumber:
    case Kind::kFloat:
      return value.text;
    case Kind::kBool:
      return value.boolean ? "true" : "false";
    case Kind::kList:
      if (value.items.size() == 1 && value.items[0].kind != Kind::kList) {
        return scalar_text(value.items[0], context, wanted);
      }
      break;
    default:
      break;
  }
  report_type(value, context, wanted);
  return std::nullopt;
}

// strconv.ParseInt with base 0: decimal, 0x, 0o or 0 for octal, 0b, '_' between digits not taken.
std::optional<std::pair<std::uint64_t, bool>> parse_integer(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  int base = 10;
  auto prefix = [&](std::string_view lower, std::string_view upper) {
    return text.starts_with(lower) || text.starts_with(upper);
  };
  if (prefix("0x", "0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (prefix("0b", "0B")) {
    base = 2;
    text.remove_prefix(2);
  } else if (prefix("0o", "0O")) {
    base = 8;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.starts_with('0')) {
    base = 8;
    text.remove_prefix(1);
  }
  std::uint64_t number = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return std::pair(number, negative);
}

template <class N>
std::optional<N> to_integer(std::string_view text) {
  auto parsed = parse_integer(text);
  if (!parsed) {
    return std::nullopt;
  }
  auto [number, negative] = *parsed;
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<N>::max());
  if (!negative) {
    return number <= kMax ? std::optional<N>(static_cast<N>(number)) : std::nullopt;
  }
  if constexpr (std::is_unsigned_v<N>) {
    return number == 0 ? std::optional<N>(0) : std::nullopt;
  } else {
    if (number > kMax + 1) {
      return std::nullopt;
    }
    return static_cast<N>(0 - static_cast<std::uint64_t>(number));
  }
}

std::optional<double> to_double(const std::string& text) {
  if (text.empty() || text.find_first_not_of("+-0123456789.eExXaAbBcCdDfF") != std::string::npos) {
    return std::nullopt;
  }
  char* end = nullptr;
  double number = std::strtod(text.c_str(), &end);
  if (end != text.c_str() + text.size() || !std::isfinite(number)) {
    return std::nullopt;
  }
  return number;
}

template <class N>
bool in_bounds(N number, const Value& value, const KeyOptions& options, Context& context,
               bool duration = false) {
  auto wide = static_cast<long double>(number);
  auto show = [duration](std::int64_t bound) {
    return duration ? format_go_duration(Duration(bound)) : std::to_string(bound);
  };
  if (options.min && wide < static_cast<long double>(*options.min)) {
    report_bad(
        value, context,
        fmt::format("{} is below the minimum of {}", shown(value, options), show(*options.min)));
    return false;
  }
  if (options.max && wide > static_cast<long double>(*options.max)) {
    report_bad(
        value, context,
        fmt::format("{} is above the maximum of {}", shown(value, options), show(*options.max)));
    return false;
  }
  return true;
}

template <class N>
void read_integer(N& into, const Values& values, const KeyOptions& options, Context& context) {
  for (const Value* value : values) {
    auto text = scalar_text(*value, context, "number");
    if (!text) {
      continue;
    }
    std::optional<N> number = value->kind == Kind::kBool ? std::optional<N>(value->boolean ? 1 : 0)
                                                         : to_integer<N>(*text);
    if (!number && value->kind == Kind::kFloat) {
      // 1e3 is a number, too.
      auto exact = to_double(*text);
      if (exact && *exact == std::floor(*exact) && std::abs(*exact) < 9e15) {
        number = to_integer<N>(fmt::format("{:.0f}", *exact));
      }
    }
    if (!number) {
      report_bad(*value, context, fmt::format("{} is not a valid number", shown(*value, options)));
    } else if (in_bounds(*number, *value, options, context)) {
      into = *number;
    }
  }
}

void check_one_of(const std::string& text, const Value& value, const KeyOptions& options,
                  Context& context) {
  if (options.one_of.empty() ||
      std::any_of(options.one_of.begin(), options.one_of.end(),
                  [&](const std::string& allowed) { return same_key(allowed, text); })) {
    return;
  }
  report_bad(
      value, context,
      fmt::format("{} is not one of: {}", shown(value, options), fmt::join(options.one_of, ", ")));
}

// strconv.ParseBool.
std::optional<bool> to_bool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) {
      return true;
    }
  }
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) {
      return false;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> read_string(const Value& value, Context& context) {
  return scalar_text(value, context, "string");
}

void Reader<std::string>::read(std::string& into, const Values& values, const KeyOptions& options,
                               Context& context) {
  for (const Value* value : values) {
    if (auto text = read_string(*value, context)) {
      check_one_of(*text, *value, options, context);
      into = std::move(*text);
    }
  }
}
std::string Reader<std::string>::text(const std::string& value) { return value; }

void Reader<bool>::read(bool& into, const Values& values, const KeyOptions& options,
                        Context& context) {
  for (const Value* value : values) {
    auto text = scalar_text(*value, context, "bool");
    if (!text) {
      continue;
    }
    if (auto flag = to_bool(*text)) {
      into = *flag;
    } else {
      report_bad(*value, context, fmt::format("{} is not a valid bool", shown(*value, options)));
    }
  }
}
std::string Reader<bool>::text(const bool& value) { return value ? "true" : "false"; }

void Reader<int>::read(int& into, const Values& values, const KeyOptions& options,
                       Context& context) {
  read_integer(into, values, options, context);
}
std::string Reader<int>::text(const int& value) { return std::to_string(value); }

void Reader<std::int64_t>::read(std::int64_t& into, const Values& values, const KeyOptions& options,
                                Context& context) {
  read_integer(into, values, options, context);
}
std::string Reader<std::int64_t>::text(const std::int64_t& value) { return std::to_string(value); }

void Reader<std::uint64_t>::read(std::uint64_t& into, const Values& values,
                                 const KeyOptions& options, Context& context) {
  read_integer(into, values, options, context);
}
std::string Reader<std::uint64_t>::text(const std::uint64_t& value) {
  return std::to_string(value);
}

void Reader<double>::read(double& into, const Values& values, const KeyOptions& options,
                          Context& context) {
  for (const Value* value : values) {
    auto text = scalar_text(*value, context, "number");
    if (!text) {
      continue;
    }
    auto number = to_double(*text);
    if (!number) {
      report_bad(*value, context, fmt::format("{} is not a valid number", shown(*value, options)));
    } else if (in_bounds(*number, *value, options, context)) {
      into = *number;
    }
  }
}
std::string Reader<double>::text(const double& value) { return fmt::format("{}", value); }

void Reader<Duration>::read(Duration& into, const Values& values, const KeyOptions& options,
                            Context& context) {
  for (const Value* value : values) {
    auto text = scalar_text(*value, context, "duration");
    if (!text) {
      continue;
    }
    auto duration = parse_go_duration(*text);
    if (!duration.ok()) {
      report_bad(*value, context, duration.error().message);
    } else if (in_bounds(duration->count(), *value, options, context, true)) {
      into = *duration;
    }
  }
}
std::string Reader<Duration>::text(const Duration& value) { return format_go_duration(value); }

void Reader<std::vector<std::string>>::read(std::vector<std::string>& into, const Values& values,
                                            const KeyOptions& options, Context& context) {
  into.clear();
  for (const Value* value : values) {
    Values items{value};
    if (value->kind == Kind::kList) {
      items.clear();
      for (const Value& item : value->items) {
        items.push_back(&item);
      }
    }
    for (const Value* item : items) {
      if (auto text = read_string(*item, context)) {
        check_one_of(*text, *item, options, context);
        into.push_back(std::move(*text));
      }
    }
  }
}
std::string Reader<std::vector<std::string>>::text(const std::vector<std::string>& value) {
  return value.empty() ? "[]" : fmt::format("[\"{}\"]", fmt::join(value, "\", \""));
}

void Reader<StringMap>::read(StringMap& into, const Values& values, const KeyOptions&,
                             Context& context) {
  for (const Value* object : block_objects(values, context)) {
    for (const Member& member : object->members) {
      Context inner{context.report, context.path + "." + member.key};
      if (auto text = read_string(member.value, inner)) {
        into[member.key] = std::move(*text);
      }
    }
  }
}
std::string Reader<StringMap>::text(const StringMap&) { return {}; }

void Reader<SecretBytes>::read(SecretBytes& into, const Values& values, const KeyOptions&,
                               Context& context) {
  for (const Value* value : values) {
    if (auto text = read_string(*value, context)) {
      into = SecretBytes::absorb(std::move(*text));
    }
  }
}
std::string Reader<SecretBytes>::text(const SecretBytes&) { return {}; }

// Repeated blocks become one object with all members; anything else: the last one.
void Reader<Value>::read(Value& into, const Values& values, const KeyOptions&, Context&) {
  bool all_objects = std::all_of(values.begin(), values.end(),
                                 [](const Value* value) { return value->is_object(); });
  if (!all_objects) {
    into = *values.back();
    return;
  }
  into = *values.front();
  for (std::size_t i = 1; i < values.size(); ++i) {
    into.members.insert(into.members.end(), values[i]->members.begin(), values[i]->members.end());
  }
}
std::string Reader<Value>::text(const Value&) { return {}; }

}  // namespace steeple::hcl::detail
