// SPDX-License-Identifier: Apache-2.0

// Strict DER (X.690 section 10). The reader accepts only what the writer would have written:
// definite, minimal lengths, low tag numbers, canonical BOOLEAN and INTEGER; every element must be
// consumed. It borrows: views point into the bytes it was given. Depth is limited.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"

namespace steeple::crypto {

namespace tag {
inline constexpr std::uint8_t kBoolean = 0x01;
inline constexpr std::uint8_t kInteger = 0x02;
inline constexpr std::uint8_t kBitString = 0x03;
inline constexpr std::uint8_t kOctetString = 0x04;
inline constexpr std::uint8_t kNull = 0x05;
inline constexpr std::uint8_t kOid = 0x06;
inline constexpr std::uint8_t kUtf8String = 0x0c;
inline constexpr std::uint8_t kPrintableString = 0x13;
inline constexpr std::uint8_t kT61String = 0x14;
inline constexpr std::uint8_t kIa5String = 0x16;
inline constexpr std::uint8_t kUtcTime = 0x17;
inline constexpr std::uint8_t kGeneralizedTime = 0x18;
inline constexpr std::uint8_t kBmpString = 0x1e;
inline constexpr std::uint8_t kSequence = 0x30;
inline constexpr std::uint8_t kSet = 0x31;
// Context-specific [n].
constexpr std::uint8_t context(unsigned n) { return static_cast<std::uint8_t>(0x80 | n); }
constexpr std::uint8_t context_constructed(unsigned n) {
  return static_cast<std::uint8_t>(0xa0 | n);
}
}  // namespace tag

class DerReader {
 public:
  // An element: `content` without and `raw` with its tag and length.
  struct Element {
    std::uint8_t tag = 0;
    ByteView content;
    ByteView raw;
  };

  explicit DerReader(ByteView bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  ByteView rest() const { return rest_; }
  std::optional<std::uint8_t> peek() const;

  Result<Element> any();
  Result<Element> element(std::uint8_t expected_tag);
  // Enters a constructed element; refuses to go deeper than kDerDepthMax.
  Result<DerReader> enter(std::uint8_t expected_tag);
  // The element if the next tag is this one, else nothing.
  Result<std::optional<Element>> optional(std::uint8_t tag);
  // All was consumed.
  Result<void> finish() const;

  Result<bool> boolean();
  // A non-negative INTEGER's magnitude without leading zeros ("\0" for zero), big-endian.
  Result<ByteView> unsigned_integer();
  Result<std::uint64_t> small_integer();
  Result<ByteView> oid() { return content(tag::kOid); }  // the encoded arcs
  Result<ByteView> octet_string() { return content(tag::kOctetString); }
  // A BIT STRING of whole bytes (no unused bits).
  Result<ByteView> bit_string();
  // A named bit list as a mask, bit 0 of the list lowest; at most 16 bits, no trailing zero bits.
  Result<std::uint16_t> named_bits();
  // UTCTime or GeneralizedTime in the RFC 5280 4.1.2.5 form.
  Result<WallTime> time();
  Result<ByteView> content(std::uint8_t expected_tag);

 private:
  DerReader(ByteView bytes, std::size_t depth) : rest_(bytes), depth_(depth) {}
  ByteView rest_;
  std::size_t depth_ = 0;
};

// One whole element and nothing after it.
Result<DerReader> der_enter_only(ByteView bytes, std::uint8_t expected_tag);

// The writer is a set of pure functions: content in, element out.
Bytes der(std::uint8_t tag, ByteView content);
Bytes der_sequence(std::initializer_list<ByteView> parts);
void der_append_header(Bytes& out, std::uint8_t tag, std::size_t content_size);
Bytes der_unsigned_integer(ByteView magnitude);  // big-endian, leading zeros are dropped
Bytes der_bit_string(ByteView bytes);
Bytes der_named_bits(std::uint16_t mask);
Bytes der_boolean_true();
Bytes der_time(WallTime time);  // UTCTime before 2050, GeneralizedTime from then on

// "1.2.840.10045.2.1" both ways; arcs of at most 64 bits.
Result<Bytes> oid_encode(std::string_view dotted);
Result<std::string> oid_to_text(ByteView encoded_arcs);

}  // namespace steeple::crypto
