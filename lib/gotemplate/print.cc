// SPDX-License-Identifier: Apache-2.0

// Printing of values as Go's fmt does it.

#include "lib/gotemplate/print.h"

#include <fmt/format.h>

#include <cmath>

#include "lib/gotemplate/template.h"
#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

constexpr int kNumberMax = 1'000'000;  // of widths and precisions, as in Go

struct Flags {
  bool width_present = false;
  bool precision_present = false;
  bool minus = false;
  bool plus = false;
  bool sharp = false;
  bool space = false;
  bool zero = false;
  bool plus_v = false;
  bool sharp_v = false;
  int width = 0;
  int precision = 0;
};

class Printer {
 public:
  void argument(const Value& value, Rune verb);
  void formatted(std::string_view format, std::span<const Value> arguments);
  void text(std::string_view value) {
    if (out_.size() + value.size() > kOutputBytesMax) {
      overflow_ = true;
      return;
    }
    out_ += value;
  }
  void clear_flags() { flags_ = {}; }
  Result<std::string> take() {
    if (overflow_) {
      return resource_exhausted("text of more than 1 MiB, or a value nested too deeply");
    }
    return std::move(out_);
  }

 private:
  struct Position {
    std::size_t argument = 0;
    std::size_t at = 0;
    bool after_index = false;
  };

  void padding(std::int64_t count);
  void pad(std::string_view value);
  void bad_verb(Rune verb, const Value& value);
  void boolean(const Value& value, Rune verb);
  void integer(const Value& value, Rune verb);
  void integer_in_base(std::uint64_t number, bool negative, unsigned base, Rune verb, bool upper);
  void unicode(std::uint64_t number);
  void character(std::uint64_t number);
  void floating(const Value& value, Rune verb);
  void float_text(double number, unsigned bits, char verb, int precision);
  void string(const std::string& value, Rune verb, const Value& origin);
  std::string_view truncated(std::string_view value) const;
  void hex_string(std::string_view value, bool upper);
  void quoted(std::string_view value);
  void value(const Value& value, Rune verb, int depth);
  bool stringer(const Value& value, Rune verb);
  void map(const Value& value, Rune verb, int depth);
  void list(const Value& value, Rune verb, int depth);
  void structure(const Value& value, Rune verb, int depth);
  void pointer(const Value& value, Rune verb, int depth);
  void separator(bool first) { text(first ? "" : flags_.sharp_v ? ", " : " "); }

  bool verb_at(std::string_view format, std::span<const Value> arguments, Position& position);
  bool simple_verb(std::string_view format, std::span<const Value> arguments, Position& position);
  void index(std::string_view format, std::size_t count, Position& position);
  void width(std::string_view format, std::span<const Value> arguments, Position& position);
  void precision(std::string_view format, std::span<const Value> arguments, Position& position);
  void prepare_v() {
    flags_.sharp_v = std::exchange(flags_.sharp, false);
    flags_.plus_v = std::exchange(flags_.plus, false);
  }

  std::string out_;
  Flags flags_;
  bool overflow_ = false;
  bool reordered_ = false;
  bool good_index_ = true;
  bool erroring_ = false;
};

void Printer::padding(std::int64_t count) {
  if (count <= 0) {
    return;
  }
  if (out_.size() + static_cast<std::size_t>(count) > kOutputBytesMax) {
    overflow_ = true;
    return;
  }
  out_.append(static_cast<std::size_t>(count), flags_.zero && !flags_.minus ? '0' : ' ');
}

void Printer::pad(std::string_view value) {
  if (!flags_.width_present || flags_.width == 0) {
    text(value);
    return;
  }
  std::int64_t missing = flags_.width - static_cast<std::int64_t>(rune_count(value));
  if (flags_.minus) {
    text(value);
    padding(missing);
  } else {
    padding(missing);
    text(value);
  }
}

void Printer::bad_verb(Rune verb, const Value& value_) {
  erroring_ = true;
  std::string name;
  append_rune(name, verb);
  text("%!" + name + "(");
  if (!value_.valid()) {
    text("<nil>");
  } else {
    text(value_.type_name());
    text("=");
    value(value_, 'v', 0);
  }
  text(")");
  erroring_ = false;
}

void Printer::boolean(const Value& value_, Rune verb) {
  if (verb != 't' && verb != 'v') {
    bad_verb(verb, value_);
    return;
  }
  pad(value_.boolean() ? "true" : "false");
}

void Printer::integer_in_base(std::uint64_t number, bool negative, unsigned base, Rune verb,
                              bool upper) {
  bool zero = std::exchange(flags_.zero, false);
  int precision_digits = 0;
  if (flags_.precision_present) {
    precision_digits = flags_.precision;
    if (precision_digits == 0 && number == 0) {
      padding(flags_.width);
      flags_.zero = zero;
      return;
    }
  } else if (zero && !flags_.minus && flags_.width_present) {
    precision_digits = flags_.width - (negative || flags_.plus || flags_.space ? 1 : 0);
  }
  const std::string_view symbols = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string digits(1, symbols[number % base]);
  for (std::uint64_t rest = number / base; rest > 0; rest /= base) {
    digits += symbols[rest % base];
  }
  if (static_cast<int>(digits.size()) < precision_digits) {
    digits.append(static_cast<std::size_t>(precision_digits) - digits.size(), '0');
  }
  if (flags_.sharp) {
    if (base == 2) {
      digits += "b0";
    } else if (base == 8 && digits.back() != '0') {
      digits += '0';
    } else if (base == 16) {
      digits += upper ? "X0" : "x0";
    }
  }
  digits += verb == 'O' ? "o0" : "";
  digits += negative ? "-" : flags_.plus ? "+" : flags_.space ? " " : "";
  std::reverse(digits.begin(), digits.end());
  pad(digits);
  flags_.zero = zero;
}

void Printer::unicode(std::uint64_t number) {
  bool zero = std::exchange(flags_.zero, false);
  int digits = flags_.precision_present && flags_.precision > 4 ? flags_.precision : 4;
  std::string out = fmt::format("U+{:0{}X}", number, digits);
  if (flags_.sharp && number <= static_cast<std::uint64_t>(kRuneMax) &&
      is_print(static_cast<Rune>(number))) {
    out += " '";
    append_rune(out, static_cast<Rune>(number));
    out += '\'';
  }
  pad(out);
  flags_.zero = zero;
}

void Printer::character(std::uint64_t number) {
  std::string out;
  append_rune(
      out, number > static_cast<std::uint64_t>(kRuneMax) ? kRuneError : static_cast<Rune>(number));
  pad(out);
}

void Printer::integer(const Value& value_, Rune verb) {
  bool is_signed = value_.dynamic_kind() == Kind::kInt;
  std::int64_t signed_number = is_signed ? value_.integer() : 0;
  std::uint64_t raw =
      is_signed ? static_cast<std::uint64_t>(signed_number) : value_.unsigned_integer();
  bool negative = signed_number < 0;
  std::uint64_t number = negative ? 0 - raw : raw;
  switch (verb) {
    case 'v':
      if (flags_.sharp_v && !is_signed) {
        bool sharp = std::exchange(flags_.sharp, true);
        integer_in_base(number, false, 16, verb, false);
        flags_.sharp = sharp;
        return;
      }
      integer_in_base(number, negative, 10, verb, false);
      return;
    case 'd':
      integer_in_base(number, negative, 10, verb, false);
      return;
    case 'b':
      integer_in_base(number, negative, 2, verb, false);
      return;
    case 'o':
    case 'O':
      integer_in_base(number, negative, 8, verb, false);
      return;
    case 'x':
    case 'X':
      integer_in_base(number, negative, 16, verb, verb == 'X');
      return;
    case 'c':
      character(raw);
      return;
    case 'q':
      pad(quote_rune(
          raw > static_cast<std::uint64_t>(kRuneMax) ? kRuneError : static_cast<Rune>(raw),
          flags_.plus));
      return;
    case 'U':
      unicode(raw);
      return;
    default:
      bad_verb(verb, value_);
  }
}

void Printer::float_text(double number, unsigned bits, char verb, int precision) {
  if (flags_.precision_present) {
    precision = flags_.precision;
  }
  std::string out = format_float(number, verb, precision, bits);
  if (out[0] != '-' && out[0] != '+') {
    out.insert(0, "+");
  }
  if (flags_.space && out[0] == '+' && !flags_.plus) {
    out[0] = ' ';
  }
  if (out[1] == 'I' || out[1] == 'N') {
    bool zero = std::exchange(flags_.zero, false);
    pad(out[1] == 'N' && !flags_.space && !flags_.plus ? out.substr(1) : out);
    flags_.zero = zero;
    return;
  }
  if (flags_.sharp) {
    out = with_point(out, verb, precision);
  }
  if (flags_.plus || out[0] != '+') {
    if (flags_.zero && !flags_.minus && flags_.width_present &&
        flags_.width > static_cast<int>(out.size())) {
      text(out.substr(0, 1));
      padding(flags_.width - static_cast<int>(out.size()));
      text(out.substr(1));
      return;
    }
    pad(out);
    return;
  }
  pad(out.substr(1));
}

void Printer::floating(const Value& value_, Rune verb) {
  double number = value_.floating();
  unsigned bits = value_.type()->bits;
  switch (verb) {
    case 'v':
      float_text(number, bits, 'g', -1);
      return;
    case 'g':
    case 'G':
      float_text(number, bits, static_cast<char>(verb), -1);
      return;
    case 'f':
    case 'e':
    case 'E':
      float_text(number, bits, static_cast<char>(verb), 6);
      return;
    case 'F':
      float_text(number, bits, 'f', 6);
      return;
    default:
      bad_verb(verb, value_);
  }
}

std::string_view Printer::truncated(std::string_view value_) const {
  if (!flags_.precision_present) {
    return value_;
  }
  std::size_t bytes = 0;
  for (int runes = 0; runes < flags_.precision && bytes < value_.size(); ++runes) {
    std::size_t size = 0;
    (void)decode_rune(value_.substr(bytes), &size);
    bytes += size;
  }
  return value_.substr(0, bytes);
}

void Printer::hex_string(std::string_view value_, bool upper) {
  if (flags_.precision_present) {
    value_ = value_.substr(0, static_cast<std::size_t>(flags_.precision));
  }
  if (value_.empty()) {
    padding(flags_.width_present ? flags_.width : 0);
    return;
  }
  std::string_view prefix = flags_.sharp ? (upper ? "0X" : "0x") : "";
  std::string out(prefix);
  for (std::size_t i = 0; i < value_.size(); ++i) {
    if (flags_.space && i > 0) {
      out += ' ';
      out += prefix;
    }
    auto byte = static_cast<unsigned char>(value_[i]);
    out += upper ? fmt::format("{:02X}", byte) : fmt::format("{:02x}", byte);
  }
  pad(out);
}

void Printer::quoted(std::string_view value_) {
  value_ = truncated(value_);
  bool raw = flags_.sharp && valid_utf8(value_) && value_.find('`') == std::string_view::npos &&
             std::none_of(value_.begin(), value_.end(),
                          [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f; }) &&
             value_.find("\xef\xbb\xbf") == std::string_view::npos;
  pad(raw ? "`" + std::string(value_) + "`" : quote(value_, flags_.plus));
}

void Printer::string(const std::string& value_, Rune verb, const Value& origin) {
  switch (verb) {
    case 'v':
      if (flags_.sharp_v) {
        quoted(value_);
      } else {
        pad(truncated(value_));
      }
      return;
    case 's':
      pad(truncated(value_));
      return;
    case 'x':
    case 'X':
      hex_string(value_, verb == 'X');
      return;
    case 'q':
      quoted(value_);
      return;
    default:
      bad_verb(verb, origin);
  }
}

// A type with a String method prints what that says.
bool Printer::stringer(const Value& value_, Rune verb) {
  if (erroring_ || flags_.sharp_v || value_.type() == nullptr ||
      (verb != 'v' && verb != 's' && verb != 'x' && verb != 'X' && verb != 'q')) {
    return false;
  }
  bool through = value_.dynamic_kind() == Kind::kPointer && !value_.is_nil();
  const Value& receiver = through ? value_.target() : value_;
  const Type::Method* method =
      receiver.type() == nullptr ? nullptr : receiver.type()->method("String");
  if (method == nullptr || method->arity != 0) {
    return false;
  }
  Result<Value> said = method->call(receiver, {});
  if (!said.ok() || said->dynamic_kind() != Kind::kString) {
    return false;
  }
  string(said->text(), verb, *said);
  return true;
}

void Printer::argument(const Value& slot, Rune verb) {
  Value value_ = slot.from_interface();
  if (!value_.valid()) {
    if (verb == 'T' || verb == 'v') {
      pad("<nil>");
    } else {
      bad_verb(verb, value_);
    }
    return;
  }
  if (verb == 'T') {
    pad(truncated(value_.type_name()));
    return;
  }
  if (verb == 'p' || (verb == 'w' && !erroring_)) {
    bad_verb(verb, value_);
    return;
  }
  if (!stringer(value_, verb)) {
    value(value_, verb, 0);
  }
}

void Printer::value(const Value& value_, Rune verb, int depth) {
  if (overflow_ || depth > kValueDepthMax) {
    overflow_ = true;
    return;
  }
  if (depth > 0 && value_.valid() && stringer(value_, verb)) {
    return;
  }
  switch (value_.kind()) {
    case Kind::kInvalid:
      text("<nil>");
      return;
    case Kind::kInterface:
      if (value_.dynamic_kind() == Kind::kInvalid) {
        text(flags_.sharp_v ? "interface {}(nil)" : "<nil>");
      } else {
        value(value_.from_interface(), verb, depth + 1);
      }
      return;
    case Kind::kBool:
      boolean(value_, verb);
      return;
    case Kind::kInt:
    case Kind::kUint:
      integer(value_, verb);
      return;
    case Kind::kFloat:
      floating(value_, verb);
      return;
    case Kind::kString:
      string(value_.text(), verb, value_);
      return;
    case Kind::kMap:
      map(value_, verb, depth);
      return;
    case Kind::kList:
      list(value_, verb, depth);
      return;
    case Kind::kStruct:
      structure(value_, verb, depth);
      return;
    case Kind::kPointer:
      pointer(value_, verb, depth);
      return;
  }
}

void Printer::map(const Value& value_, Rune verb, int depth) {
  if (flags_.sharp_v) {
    text(value_.type_name());
    if (value_.is_nil()) {
      text("(nil)");
      return;
    }
  }
  text(flags_.sharp_v ? "{" : "map[");
  bool first = true;
  for (const auto& [key, entry] : value_.entries()) {
    separator(first);
    first = false;
    string(key, verb, Value(key));
    text(":");
    value(entry, verb, depth + 1);
  }
  text(flags_.sharp_v ? "}" : "]");
}

void Printer::list(const Value& value_, Rune verb, int depth) {
  if (flags_.sharp_v) {
    text(value_.type_name());
    if (value_.is_nil()) {
      text("(nil)");
      return;
    }
  }
  text(flags_.sharp_v ? "{" : "[");
  bool first = true;
  for (const Value& item : value_.items()) {
    separator(first);
    first = false;
    value(item, verb, depth + 1);
  }
  text(flags_.sharp_v ? "}" : "]");
}

void Printer::structure(const Value& value_, Rune verb, int depth) {
  if (flags_.sharp_v) {
    text(value_.type_name());
  }
  text("{");
  for (std::size_t i = 0; i < value_.items().size(); ++i) {
    separator(i == 0);
    if (flags_.plus_v || flags_.sharp_v) {
      text(value_.type()->fields[i].name);
      text(":");
    }
    const Value& field = value_.items()[i];
    bool nil_slot = field.kind() == Kind::kInterface && field.dynamic_kind() == Kind::kInvalid;
    value(nil_slot ? field : field.from_interface(), verb, depth + 1);
  }
  text("}");
}

void Printer::pointer(const Value& value_, Rune verb, int depth) {
  if (value_.is_nil()) {
    if (verb == 'v') {
      pad("<nil>");
    } else if (std::string_view("bodxX").find(static_cast<char>(verb)) != std::string_view::npos) {
      integer(Value(std::uint64_t{0}), verb);
    } else {
      bad_verb(verb, value_);
    }
    return;
  }
  Kind kind = value_.target().kind();
  if (depth == 0 && (kind == Kind::kList || kind == Kind::kMap || kind == Kind::kStruct)) {
    text("&");
    value(value_.target(), verb, depth + 1);
    return;
  }
  // Go prints the address here, another one in each run. Ours is always the same.
  Value address(std::uint64_t{0xc0000000000});
  if (verb == 'v') {
    flags_.sharp = !flags_.sharp;
    integer_in_base(address.unsigned_integer(), false, 16, 'v', false);
    flags_.sharp = !flags_.sharp;
  } else if (std::string_view("bodxX").find(static_cast<char>(verb)) != std::string_view::npos) {
    integer(address, verb);
  } else {
    bad_verb(verb, value_);
  }
}

std::optional<int> number_at(std::string_view format, std::size_t& at, bool& overflow) {
  std::size_t start = at;
  int number = 0;
  overflow = false;
  while (at < format.size() && format[at] >= '0' && format[at] <= '9') {
    if (number > kNumberMax) {
      at = format.size();
      overflow = true;
      return std::nullopt;
    }
    number = number * 10 + (format[at] - '0');
    ++at;
  }
  return at > start ? std::optional<int>(number) : std::nullopt;
}

void Printer::index(std::string_view format, std::size_t count, Position& position) {
  position.after_index = false;
  if (position.at >= format.size() || format[position.at] != '[') {
    return;
  }
  reordered_ = true;
  std::string_view rest = format.substr(position.at);
  std::size_t close = rest.find(']', 1);
  if (rest.size() < 3 || close == std::string_view::npos) {
    good_index_ = false;
    position.at += 1;
    return;
  }
  std::size_t at = 1;
  bool overflow = false;
  std::optional<int> number = number_at(rest.substr(0, close), at, overflow);
  position.at += close + 1;
  bool ok = number && at == close;
  if (ok && *number >= 1 && static_cast<std::size_t>(*number) <= count) {
    position.argument = static_cast<std::size_t>(*number) - 1;
    position.after_index = true;
    return;
  }
  good_index_ = false;
  position.after_index = ok;
}

std::optional<int> integer_argument(std::span<const Value> arguments, std::size_t& at) {
  if (at >= arguments.size()) {
    return std::nullopt;
  }
  const Value& value = arguments[at++];
  std::int64_t number = kNumberMax + 1;
  if (value.dynamic_kind() == Kind::kInt) {
    number = value.integer();
  } else if (value.dynamic_kind() == Kind::kUint && value.unsigned_integer() <= kNumberMax) {
    number = static_cast<std::int64_t>(value.unsigned_integer());
  }
  if (number > kNumberMax || number < -kNumberMax) {
    return std::nullopt;
  }
  return static_cast<int>(number);
}

void Printer::width(std::string_view format, std::span<const Value> arguments, Position& position) {
  if (position.at < format.size() && format[position.at] == '*') {
    ++position.at;
    std::optional<int> number = integer_argument(arguments, position.argument);
    flags_.width_present = number.has_value();
    flags_.width = number.value_or(0);
    if (!number) {
      text("%!(BADWIDTH)");
    }
    if (flags_.width < 0) {
      flags_.width = -flags_.width;
      flags_.minus = true;
      flags_.zero = false;
    }
    position.after_index = false;
    return;
  }
  bool overflow = false;
  std::optional<int> number = number_at(format, position.at, overflow);
  flags_.width_present = number.has_value();
  flags_.width = number.value_or(0);
  if (position.after_index && number) {
    good_index_ = false;
  }
}

void Printer::precision(std::string_view format, std::span<const Value> arguments,
                        Position& position) {
  if (position.at + 1 >= format.size() || format[position.at] != '.') {
    return;
  }
  ++position.at;
  if (position.after_index) {
    good_index_ = false;
  }
  index(format, arguments.size(), position);
  if (position.at < format.size() && format[position.at] == '*') {
    ++position.at;
    std::optional<int> number = integer_argument(arguments, position.argument);
    flags_.precision_present = number && *number >= 0;
    flags_.precision = flags_.precision_present ? *number : 0;
    if (!flags_.precision_present) {
      text("%!(BADPREC)");
    }
    position.after_index = false;
    return;
  }
  bool overflow = false;
  flags_.precision = number_at(format, position.at, overflow).value_or(0);
  flags_.precision_present = true;
}

// Flags and then at once a verb: nearly all there is. False if more follows.
bool Printer::simple_verb(std::string_view format, std::span<const Value> arguments,
                          Position& position) {
  for (; position.at < format.size(); ++position.at) {
    char c = format[position.at];
    if (c == '#') {
      flags_.sharp = true;
    } else if (c == '0') {
      flags_.zero = true;
    } else if (c == '+') {
      flags_.plus = true;
    } else if (c == '-') {
      flags_.minus = true;
    } else if (c == ' ') {
      flags_.space = true;
    } else if (c >= 'a' && c <= 'z' && position.argument < arguments.size()) {
      if (c == 'v' || c == 'w') {
        prepare_v();
      }
      argument(arguments[position.argument++], c);
      ++position.at;
      return true;
    } else {
      return false;
    }
  }
  return false;
}

// One verb after its '%'; false at the end of the format.
bool Printer::verb_at(std::string_view format, std::span<const Value> arguments,
                      Position& position) {
  clear_flags();
  if (simple_verb(format, arguments, position)) {
    return true;
  }
  index(format, arguments.size(), position);
  width(format, arguments, position);
  precision(format, arguments, position);
  if (!position.after_index) {
    index(format, arguments.size(), position);
  }
  if (position.at >= format.size()) {
    text("%!(NOVERB)");
    return false;
  }
  std::size_t size = 0;
  Rune verb = decode_rune(format.substr(position.at), &size);
  std::string name = "%!";
  append_rune(name, verb);
  position.at += size;
  if (verb == '%') {
    text("%");
  } else if (!good_index_) {
    text(name + "(BADINDEX)");
  } else if (position.argument >= arguments.size()) {
    text(name + "(MISSING)");
  } else {
    if (verb == 'v' || verb == 'w') {
      prepare_v();
    }
    argument(arguments[position.argument++], verb);
  }
  return true;
}

void Printer::formatted(std::string_view format, std::span<const Value> arguments) {
  Position position;
  while (position.at < format.size() && !overflow_) {
    good_index_ = true;
    std::size_t percent = std::min(format.find('%', position.at), format.size());
    text(format.substr(position.at, percent - position.at));
    position.at = percent + 1;
    if (percent == format.size() || !verb_at(format, arguments, position)) {
      break;
    }
  }
  if (reordered_ || position.argument >= arguments.size()) {
    return;
  }
  clear_flags();
  text("%!(EXTRA ");
  for (std::size_t i = position.argument; i < arguments.size(); ++i) {
    text(i > position.argument ? ", " : "");
    Value value_ = arguments[i].from_interface();
    if (!value_.valid()) {
      text("<nil>");
    } else {
      text(value_.type_name());
      text("=");
      argument(value_, 'v');
    }
  }
  text(")");
}

}  // namespace

Result<std::string> sprint(std::span<const Value> arguments) {
  Printer printer;
  bool after_string = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    bool string = arguments[i].dynamic_kind() == Kind::kString;
    if (i > 0 && !string && !after_string) {
      printer.text(" ");
    }
    printer.argument(arguments[i], 'v');
    after_string = string;
  }
  return printer.take();
}

Result<std::string> sprintln(std::span<const Value> arguments) {
  Printer printer;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    printer.text(i > 0 ? " " : "");
    printer.argument(arguments[i], 'v');
  }
  printer.text("\n");
  return printer.take();
}

Result<std::string> sprintf(std::string_view format, std::span<const Value> arguments) {
  Printer printer;
  printer.formatted(format, arguments);
  return printer.take();
}

Result<std::string> print_value(const Value& value) { return sprint({&value, 1}); }

}  // namespace steeple::gotemplate
