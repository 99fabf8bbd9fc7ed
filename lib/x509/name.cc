// SPDX-License-Identifier: Apache-2.0

#include "lib/x509/name.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ranges>

#include "lib/crypto/der.h"

namespace steeple::x509 {
namespace {

using crypto::der;
using crypto::der_sequence;
using crypto::DerReader;
namespace tag = crypto::tag;

constexpr std::size_t kAttributesMax = 64;
constexpr std::size_t kAttributeBytesMax = 4096;

constexpr std::string_view kCommonName = "2.5.4.3";
constexpr std::string_view kSerialNumber = "2.5.4.5";

// The attributes of many values, in the order of Go's ToRDNSequence.
struct Field {
  std::string_view oid;
  std::string_view short_name;
  std::vector<std::string> Name::* values;
};
constexpr std::array<Field, 7> kFields = {{
    {"2.5.4.6", "C", &Name::country},
    {"2.5.4.10", "O", &Name::organization},
    {"2.5.4.11", "OU", &Name::organizational_unit},
    {"2.5.4.7", "L", &Name::locality},
    {"2.5.4.8", "ST", &Name::province},
    {"2.5.4.9", "STREET", &Name::street_address},
    {"2.5.4.17", "POSTALCODE", &Name::postal_code},
}};

// Go's isPrintable without asterisk and ampersand.
bool is_printable(char c) {
  constexpr std::string_view kOthers = " '()+,-./:=?";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         kOthers.find(c) != std::string_view::npos;
}

std::size_t utf8_sequence(std::string_view text) {
  auto at = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  auto tail = [&](std::size_t i) { return i < text.size() && (at(i) & 0xc0) == 0x80; };
  unsigned char lead = at(0);
  if (lead < 0x80) {
    return 1;
  }
  if (lead >= 0xc2 && lead <= 0xdf) {
    return tail(1) ? 2 : 0;
  }
  if (lead >= 0xe0 && lead <= 0xef) {
    bool overlong = lead == 0xe0 && tail(1) && at(1) < 0xa0;
    bool surrogate = lead == 0xed && tail(1) && at(1) >= 0xa0;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    bool overlong = lead == 0xf0 && tail(1) && at(1) < 0x90;
    bool above = lead == 0xf4 && tail(1) && at(1) >= 0x90;
    return tail(1) && tail(2) && tail(3) && !overlong && !above ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    std::size_t size = utf8_sequence(text);
    if (size == 0) {
      return false;
    }
    text.remove_prefix(size);
  }
  return true;
}

Bytes encode_text(std::string_view value) {
  bool printable = std::all_of(value.begin(), value.end(), is_printable);
  return der(printable ? tag::kPrintableString : tag::kUtf8String, value);
}

Result<Bytes> encode_attribute(std::string_view oid, std::string_view value) {
  if (!is_utf8(value)) {
    return invalid_argument("name has text that is not UTF-8");
  }
  if (value.size() > kAttributeBytesMax) {
    return invalid_argument("name has an attribute that is too long");
  }
  Bytes type = TRY(crypto::oid_encode(oid));
  return der_sequence({der(tag::kOid, type), encode_text(value)});
}

// One RelativeDistinguishedName; a SET OF is sorted by encoding (X.690 11.6).
Result<Bytes> encode_rdn(std::string_view oid, const std::vector<std::string>& values) {
  std::vector<Bytes> attributes;
  for (const std::string& value : values) {
    attributes.push_back(TRY(encode_attribute(oid, value)));
  }
  std::sort(attributes.begin(), attributes.end());
  Bytes content;
  for (const Bytes& attribute : attributes) {
    content += attribute;
  }
  return der(tag::kSet, content);
}

Result<std::string> attribute_text(const DerReader::Element& value) {
  if (value.content.size() > kAttributeBytesMax) {
    return invalid_argument("malformed name: attribute is too long");
  }
  switch (value.tag) {
    case tag::kPrintableString:
    case tag::kIa5String:
    case tag::kUtf8String:
      if (!is_utf8(value.content)) {
        return invalid_argument("malformed name: text is not UTF-8");
      }
      return std::string(value.content);
    case tag::kT61String: {
      std::string text;
      for (char c : value.content) {  // Latin-1 as everybody reads it
        auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
          text += c;
        } else {
          text += static_cast<char>(0xc0 | (byte >> 6));
          text += static_cast<char>(0x80 | (byte & 0x3f));
        }
      }
      return text;
    }
    default:
      // Kinds of text nobody issues any more (BMPString, BIT STRING ids): kept as hex.
      return "#" + hex_encode(value.raw);
  }
}

void add_attribute(Name& name, const std::string& oid, std::string value) {
  if (oid == kCommonName) {
    name.common_name = std::move(value);
    return;
  }
  if (oid == kSerialNumber) {
    name.serial_number = std::move(value);
    return;
  }
  for (const Field& field : kFields) {
    if (oid == field.oid) {
      (name.*field.values).push_back(std::move(value));
      return;
    }
  }
  name.extra.push_back({oid, std::move(value)});
}

std::string escape(std::string_view value) {
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    char c = value[i];
    bool special = std::string_view(",+\"\\<>;").find(c) != std::string_view::npos;
    bool edge = (c == ' ' && (i == 0 || i + 1 == value.size())) || (c == '#' && i == 0);
    if (special || edge) {
      out += '\\';
    }
    out += c;
  }
  return out;
}

}  // namespace

bool operator==(const Name::Extra& a, const Name::Extra& b) {
  return a.oid == b.oid && a.value == b.value;
}

bool Name::empty() const { return *this == Name(); }

Result<Bytes> Name::encode() const {
  Bytes content;
  for (const Field& field : kFields) {
    if (!(this->*field.values).empty()) {
      content += TRY(encode_rdn(field.oid, this->*field.values));
    }
  }
  if (!common_name.empty()) {
    content += TRY(encode_rdn(kCommonName, {common_name}));
  }
  if (!serial_number.empty()) {
    content += TRY(encode_rdn(kSerialNumber, {serial_number}));
  }
  for (const Extra& attribute : extra) {
    content += TRY(encode_rdn(attribute.oid, {attribute.value}));
  }
  return der(tag::kSequence, content);
}

Result<Name> Name::parse(ByteView bytes) {
  DerReader reader = TRY(crypto::der_enter_only(bytes, tag::kSequence));
  Name name;
  std::size_t count = 0;
  while (!reader.empty()) {
    DerReader set = TRY(reader.enter(tag::kSet));
    do {
      DerReader attribute = TRY(set.enter(tag::kSequence));
      ByteView arcs = TRY(attribute.oid());
      std::string oid = TRY(crypto::oid_to_text(arcs));
      DerReader::Element text = TRY(attribute.any());
      std::string value = TRY(attribute_text(text));
      TRY(attribute.finish());
      if (++count > kAttributesMax) {
        return invalid_argument("malformed name: too many attributes");
      }
      add_attribute(name, oid, std::move(value));
    } while (!set.empty());
  }
  return name;
}

std::string Name::to_string() const {
  std::vector<std::string> parts;
  for (const Field& field : kFields) {
    std::string joined;
    for (const std::string& value : this->*field.values) {
      joined += (joined.empty() ? "" : "+");
      joined += fmt::format("{}={}", field.short_name, escape(value));
    }
    if (!joined.empty()) {
      parts.push_back(std::move(joined));
    }
  }
  if (!common_name.empty()) {
    parts.push_back("CN=" + escape(common_name));
  }
  if (!serial_number.empty()) {
    parts.push_back("SERIALNUMBER=" + escape(serial_number));
  }
  std::reverse(parts.begin(), parts.end());
  // Go shows what it has no name for as the value's encoding, after the others.
  for (const auto& attribute : std::views::reverse(extra)) {
    parts.push_back(fmt::format("{}=#{}", attribute.oid, hex_encode(encode_text(attribute.value))));
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

Name default_svid_subject() {
  Name name;
  name.country = {"US"};
  name.organization = {"SPIRE"};
  return name;
}

Name default_ca_subject() {
  Name name;
  name.country = {"US"};
  name.organization = {"SPIFFE"};
  return name;
}

}  // namespace steeple::x509
