// SPDX-License-Identifier: Apache-2.0

#include "lib/crypto/der.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <vector>

namespace steeple::crypto {
namespace {

Error malformed(std::string_view what) {
  return invalid_argument(fmt::format("malformed DER: {}", what));
}

std::uint8_t byte_at(ByteView bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

// The length octets at bytes[1..]; sets how many there are.
Result<std::size_t> read_length(ByteView bytes, std::size_t& octets) {
  std::uint8_t first = byte_at(bytes, 1);
  if (first < 0x80) {
    octets = 1;
    return std::size_t{first};
  }
  std::size_t count = first & 0x7f;
  if (count == 0 || count > 4) {
    return malformed(count == 0 ? "indefinite length" : "length is too large");
  }
  if (bytes.size() < 2 + count) {
    return malformed("truncated length");
  }
  std::size_t length = 0;
  for (std::size_t i = 0; i < count; ++i) {
    length = (length << 8) | byte_at(bytes, 2 + i);
  }
  if (length < 0x80 || (length >> (8 * (count - 1))) == 0) {
    return malformed("length is not minimal");
  }
  octets = 1 + count;
  return length;
}

Result<int> digits(ByteView text, std::size_t at, std::size_t count) {
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') {
      return malformed("time has a character that is no digit");
    }
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

// "YYYYMMDDHHMMSSZ" after the century has been settled: `rest` is "MMDDHHMMSSZ".
Result<WallTime> civil_time(int year, ByteView rest) {
  using namespace std::chrono;
  int month_number = TRY(digits(rest, 0, 2));
  int day_number = TRY(digits(rest, 2, 2));
  int hour = TRY(digits(rest, 4, 2));
  int minute = TRY(digits(rest, 6, 2));
  int second = TRY(digits(rest, 8, 2));
  auto date = std::chrono::year(year) / month_number / day_number;
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) {
    return malformed("time is out of range");
  }
  constexpr int kYearMin = 1678;  // nobody means an older one
  if (year < kYearMin) {
    return malformed("time is out of range");
  }
  // "No well-defined expiration" (99991231235959Z, RFC 5280 4.1.2.5) becomes the last time there
  // is.
  sys_seconds time = sys_days(date) + hours(hour) + minutes(minute) + seconds(second);
  return from_unix_seconds(time.time_since_epoch().count());
}

void append_base128(Bytes& out, std::uint64_t value) {
  std::array<char, 10> digits_reversed{};
  std::size_t count = 0;
  do {
    digits_reversed[count] = static_cast<char>((value & 0x7f) | (count == 0 ? 0 : 0x80));
    ++count;
    value >>= 7;
  } while (value != 0);
  while (count > 0) {
    out += digits_reversed[--count];
  }
}

}  // namespace

std::optional<std::uint8_t> DerReader::peek() const {
  if (rest_.empty()) {
    return std::nullopt;
  }
  return byte_at(rest_, 0);
}

Result<DerReader::Element> DerReader::any() {
  if (rest_.size() < 2) {
    return malformed("truncated element");
  }
  std::uint8_t tag = byte_at(rest_, 0);
  if ((tag & 0x1f) == 0x1f) {
    return malformed("high tag number");
  }
  std::size_t octets = 0;
  std::size_t length = TRY(read_length(rest_, octets));
  std::size_t head = 1 + octets;
  if (length > rest_.size() - head) {
    return malformed("truncated content");
  }
  Element element{tag, rest_.substr(head, length), rest_.substr(0, head + length)};
  rest_.remove_prefix(head + length);
  return element;
}

Result<DerReader::Element> DerReader::element(std::uint8_t expected_tag) {
  if (peek() != expected_tag) {
    return malformed(rest_.empty() ? "missing element" : "unexpected tag");
  }
  return any();
}

Result<ByteView> DerReader::content(std::uint8_t expected_tag) {
  return TRY(element(expected_tag)).content;
}

Result<DerReader> DerReader::enter(std::uint8_t expected_tag) {
  if (depth_ + 1 > limits::kDerDepthMax) {
    return malformed("nested too deep");
  }
  return DerReader(TRY(content(expected_tag)), depth_ + 1);
}

Result<std::optional<DerReader::Element>> DerReader::optional(std::uint8_t tag) {
  if (peek() != tag) {
    return std::optional<Element>();
  }
  return std::optional<Element>(TRY(any()));
}

Result<void> DerReader::finish() const {
  if (!rest_.empty()) {
    return malformed("trailing data");
  }
  return {};
}

Result<bool> DerReader::boolean() {
  ByteView value = TRY(content(tag::kBoolean));
  if (value.size() != 1 || (byte_at(value, 0) != 0 && byte_at(value, 0) != 0xff)) {
    return malformed("boolean is not canonical");
  }
  return value[0] != 0;
}

Result<ByteView> DerReader::unsigned_integer() {
  ByteView value = TRY(content(tag::kInteger));
  if (value.empty()) {
    return malformed("empty integer");
  }
  if ((byte_at(value, 0) & 0x80) != 0) {
    return malformed("negative integer");
  }
  if (value.size() > 1 && value[0] == 0) {
    if ((byte_at(value, 1) & 0x80) == 0) {
      return malformed("integer is not minimal");
    }
    value.remove_prefix(1);
  }
  return value;
}

Result<std::uint64_t> DerReader::small_integer() {
  ByteView magnitude = TRY(unsigned_integer());
  if (magnitude.size() > 8) {
    return malformed("integer is too large");
  }
  std::uint64_t value = 0;
  for (char c : magnitude) {
    value = (value << 8) | static_cast<unsigned char>(c);
  }
  return value;
}

Result<ByteView> DerReader::bit_string() {
  ByteView value = TRY(content(tag::kBitString));
  if (value.empty() || value[0] != 0) {
    return malformed("bit string is not of whole bytes");
  }
  return value.substr(1);
}

Result<std::uint16_t> DerReader::named_bits() {
  ByteView value = TRY(content(tag::kBitString));
  if (value.empty() || value.size() > 3) {
    return malformed("bit list has a bad length");
  }
  unsigned unused = byte_at(value, 0);
  if (unused > 7 || (value.size() == 1 && unused != 0)) {
    return malformed("bit list has a bad number of unused bits");
  }
  if (value.size() > 1) {
    // X.690 11.2.2: no trailing zero bits, and the unused bits are zero.
    unsigned last = byte_at(value, value.size() - 1);
    if ((last & ((1U << unused) - 1)) != 0 || (last & (1U << unused)) == 0) {
      return malformed("bit list is not canonical");
    }
  }
  unsigned mask = 0;
  for (std::size_t i = 1; i < value.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      if ((byte_at(value, i) & (0x80U >> bit)) != 0) {
        mask |= 1U << ((i - 1) * 8 + bit);
      }
    }
  }
  return static_cast<std::uint16_t>(mask);
}

Result<WallTime> DerReader::time() {
  Element field = TRY(any());
  ByteView text = field.content;
  if (field.tag == tag::kUtcTime) {
    if (text.size() != 13 || text.back() != 'Z') {
      return malformed("time is not in the form of RFC 5280");
    }
    int year = TRY(digits(text, 0, 2));
    return civil_time(year < 50 ? 2000 + year : 1900 + year, text.substr(2));
  }
  if (field.tag != tag::kGeneralizedTime) {
    return malformed("unexpected tag for a time");
  }
  if (text.size() != 15 || text.back() != 'Z') {
    return malformed("time is not in the form of RFC 5280");
  }
  return civil_time(TRY(digits(text, 0, 4)), text.substr(4));
}

Result<DerReader> der_enter_only(ByteView bytes, std::uint8_t expected_tag) {
  DerReader outer(bytes);
  DerReader inner = TRY(outer.enter(expected_tag));
  TRY(outer.finish());
  return inner;
}

void der_append_header(Bytes& out, std::uint8_t tag, std::size_t content_size) {
  out += static_cast<char>(tag);
  if (content_size < 0x80) {
    out += static_cast<char>(content_size);
    return;
  }
  unsigned octets = (static_cast<unsigned>(std::bit_width(content_size)) + 7) / 8;
  out += static_cast<char>(0x80 | octets);
  while (octets > 0) {
    --octets;
    out += static_cast<char>((content_size >> (8 * octets)) & 0xff);
  }
}

Bytes der(std::uint8_t tag, ByteView content) {
  Bytes out;
  out.reserve(content.size() + 6);
  der_append_header(out, tag, content.size());
  out += content;
  return out;
}

Bytes der_sequence(std::initializer_list<ByteView> parts) {
  std::size_t size = 0;
  for (ByteView part : parts) {
    size += part.size();
  }
  Bytes out;
  out.reserve(size + 6);
  der_append_header(out, tag::kSequence, size);
  for (ByteView part : parts) {
    out += part;
  }
  return out;
}

Bytes der_unsigned_integer(ByteView magnitude) {
  while (magnitude.size() > 1 && magnitude[0] == 0) {
    magnitude.remove_prefix(1);
  }
  bool pad = magnitude.empty() || (byte_at(magnitude, 0) & 0x80) != 0;
  Bytes out;
  out.reserve(magnitude.size() + 7);
  der_append_header(out, tag::kInteger, magnitude.size() + (pad ? 1 : 0));
  if (pad) {
    out += '\0';
  }
  out += magnitude;
  return out;
}

Bytes der_bit_string(ByteView bytes) {
  Bytes out;
  out.reserve(bytes.size() + 7);
  der_append_header(out, tag::kBitString, bytes.size() + 1);
  out += '\0';
  out += bytes;
  return out;
}

Bytes der_named_bits(std::uint16_t mask) {
  Bytes content(1, '\0');
  unsigned width = static_cast<unsigned>(std::bit_width(mask));
  for (unsigned at = 0; at < width; at += 8) {
    unsigned byte = 0;
    for (unsigned bit = 0; bit < 8; ++bit) {
      byte |= ((mask >> (at + bit)) & 1U) != 0 ? 0x80U >> bit : 0;
    }
    content += static_cast<char>(byte);
  }
  content[0] = static_cast<char>((8 - width % 8) % 8);
  return der(tag::kBitString, content);
}

Bytes der_boolean_true() { return Bytes("\x01\x01\xff", 3); }

Bytes der_time(WallTime time) {
  using namespace std::chrono;
  auto whole = floor<seconds>(time);
  auto day = floor<days>(whole);
  year_month_day date(day);
  hh_mm_ss<seconds> clock(whole - day);
  int year = static_cast<int>(date.year());
  bool utc = year >= 1950 && year < 2050;
  std::array<char, 20> text{};
  char* at = text.data();
  auto put = [&at](auto value, int count) {
    auto number = static_cast<unsigned>(value);
    for (int i = count - 1; i >= 0; --i) {
      at[i] = static_cast<char>('0' + number % 10);
      number /= 10;
    }
    at += count;
  };
  if (utc) {
    put(year % 100, 2);
  } else {
    put(year, 4);
  }
  put(static_cast<unsigned>(date.month()), 2);
  put(static_cast<unsigned>(date.day()), 2);
  put(clock.hours().count(), 2);
  put(clock.minutes().count(), 2);
  put(clock.seconds().count(), 2);
  *at++ = 'Z';
  return der(utc ? tag::kUtcTime : tag::kGeneralizedTime,
             ByteView(text.data(), static_cast<std::size_t>(at - text.data())));
}

Result<Bytes> oid_encode(std::string_view dotted) {
  std::vector<std::uint64_t> arcs;
  std::string_view rest = dotted;
  while (true) {
    std::uint64_t arc = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), arc);
    bool leading_zero = rest.size() > 1 && rest[0] == '0' && end - rest.data() > 1;
    if (error != std::errc() || leading_zero || arcs.size() == 64) {
      return invalid_argument(fmt::format("bad object identifier \"{}\"", dotted));
    }
    arcs.push_back(arc);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (rest.empty()) {
      break;
    }
    if (rest[0] != '.') {
      return invalid_argument(fmt::format("bad object identifier \"{}\"", dotted));
    }
    rest.remove_prefix(1);
  }
  bool small_second = arcs.size() > 1 && (arcs[0] == 2 || arcs[1] < 40);
  if (arcs.size() < 2 || arcs[0] > 2 || !small_second || arcs[1] > UINT64_MAX - 80) {
    return invalid_argument(fmt::format("bad object identifier \"{}\"", dotted));
  }
  Bytes out;
  append_base128(out, arcs[0] * 40 + arcs[1]);
  for (std::size_t i = 2; i < arcs.size(); ++i) {
    append_base128(out, arcs[i]);
  }
  return out;
}

Result<std::string> oid_to_text(ByteView encoded_arcs) {
  std::string out;
  std::uint64_t value = 0;
  bool inside = false;
  for (char c : encoded_arcs) {
    auto byte = static_cast<std::uint8_t>(c);
    if ((!inside && byte == 0x80) || (value >> 57) != 0) {
      return malformed("bad object identifier");
    }
    value = (value << 7) | (byte & 0x7f);
    inside = (byte & 0x80) != 0;
    if (inside) {
      continue;
    }
    if (out.empty()) {
      std::uint64_t first = std::min<std::uint64_t>(value / 40, 2);
      out = fmt::format("{}.{}", first, value - first * 40);
    } else {
      out += fmt::format(".{}", value);
    }
    value = 0;
  }
  if (inside || out.empty()) {
    return malformed("bad object identifier");
  }
  return out;
}

}  // namespace steeple::crypto
