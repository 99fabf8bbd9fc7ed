// SPDX-License-Identifier: Apache-2.0

#include "lib/x509/encoding.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace steeple::x509 {
namespace {

using crypto::der;
using crypto::der_append_header;
using crypto::der_sequence;
using crypto::DerReader;
using crypto::SignatureAlgorithm;
namespace tag = crypto::tag;

constexpr unsigned kDnsName = 2;
constexpr unsigned kUri = 6;
constexpr unsigned kIpAddress = 7;

struct Identifier {
  SignatureAlgorithm algorithm;
  Bytes encoded;
};

Bytes oid_element(std::string_view dotted) {
  return der(tag::kOid, crypto::oid_encode(dotted).take());
}

Bytes with_null(std::string_view dotted) {
  return der_sequence({oid_element(dotted), der(tag::kNull, {})});
}

// RFC 4055 section 3.1 with the hash's own length as salt: the only form we take.
Bytes pss(std::string_view hash_oid, char salt_bytes) {
  Bytes hash = with_null(hash_oid);
  Bytes mask = der_sequence({oid_element("1.2.840.113549.1.1.8"), hash});
  Bytes salt = crypto::der_unsigned_integer(ByteView(&salt_bytes, 1));
  Bytes parameters =
      der_sequence({der(tag::context_constructed(0), hash), der(tag::context_constructed(1), mask),
                    der(tag::context_constructed(2), salt)});
  return der_sequence({oid_element("1.2.840.113549.1.1.10"), parameters});
}

const std::array<Identifier, 9>& identifiers() {
  using A = SignatureAlgorithm;
  static const std::array<Identifier, 9> kAll = {{
      {A::kEcdsaSha256, der_sequence({oid_element("1.2.840.10045.4.3.2")})},
      {A::kEcdsaSha384, der_sequence({oid_element("1.2.840.10045.4.3.3")})},
      {A::kEcdsaSha512, der_sequence({oid_element("1.2.840.10045.4.3.4")})},
      {A::kRsaPkcs1Sha256, with_null("1.2.840.113549.1.1.11")},
      {A::kRsaPkcs1Sha384, with_null("1.2.840.113549.1.1.12")},
      {A::kRsaPkcs1Sha512, with_null("1.2.840.113549.1.1.13")},
      {A::kRsaPssSha256, pss("2.16.840.1.101.3.4.2.1", 32)},
      {A::kRsaPssSha384, pss("2.16.840.1.101.3.4.2.2", 48)},
      {A::kRsaPssSha512, pss("2.16.840.1.101.3.4.2.3", 64)},
  }};
  return kAll;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

ByteView algorithm_identifier(SignatureAlgorithm algorithm) {
  const Identifier& found = identifiers()[static_cast<std::size_t>(algorithm)];
  CHECK(found.algorithm == algorithm);
  return found.encoded;
}

std::optional<SignatureAlgorithm> algorithm_of(ByteView algorithm_identifier) {
  for (const Identifier& known : identifiers()) {
    if (known.encoded == algorithm_identifier) {
      return known.algorithm;
    }
  }
  return std::nullopt;
}

Result<std::vector<RawExtension>> read_extensions(DerReader reader) {
  std::vector<RawExtension> extensions;
  while (!reader.empty()) {
    DerReader fields = TRY(reader.enter(tag::kSequence));
    RawExtension extension;
    extension.oid = TRY(fields.oid());
    if (fields.peek() == tag::kBoolean) {
      extension.critical = TRY(fields.boolean());
      if (!extension.critical) {
        return invalid_argument("malformed DER: default value is written out");
      }
    }
    extension.value = TRY(fields.octet_string());
    TRY(fields.finish());
    bool again = std::any_of(extensions.begin(), extensions.end(),
                             [&](const RawExtension& e) { return e.oid == extension.oid; });
    if (again) {
      return invalid_argument("duplicate extensions");
    }
    if (extensions.size() == kExtensionsMax) {
      return invalid_argument("too many extensions");
    }
    extensions.push_back(extension);
  }
  return extensions;
}

Bytes encode_extension(ByteView oid, bool critical, ByteView value) {
  return der_sequence({der(tag::kOid, oid),
                       critical ? ByteView(crypto::der_boolean_true()) : ByteView(),
                       der(tag::kOctetString, value)});
}

Result<AltNames> read_alt_names(ByteView value) {
  DerReader reader = TRY(crypto::der_enter_only(value, tag::kSequence));
  AltNames names;
  for (std::size_t count = 0; !reader.empty(); ++count) {
    if (count == kSansMax) {
      return invalid_argument("too many subject alternative names");
    }
    DerReader::Element name = TRY(reader.any());
    if (name.tag == tag::context(kDnsName) || name.tag == tag::context(kUri)) {
      if (!is_ascii(name.content)) {
        return invalid_argument("subject alternative name is not an IA5String");
      }
      (name.tag == tag::context(kUri) ? names.uris : names.dns).emplace_back(name.content);
    } else if (name.tag == tag::context(kIpAddress)) {
      if (name.content.size() != 4 && name.content.size() != 16) {
        return invalid_argument(
            fmt::format("cannot parse IP address of length {}", name.content.size()));
      }
      names.ips.emplace_back(name.content);
    } else if ((name.tag & 0xc0) == 0x80) {
      names.others = true;
    } else {
      return invalid_argument("malformed subject alternative name");
    }
  }
  return names;
}

Result<Bytes> encode_alt_names(std::span<const std::string> dns,
                               std::span<const std::string> uris) {
  Bytes content;
  auto append = [&content](unsigned kind, const std::string& name) -> Result<void> {
    if (!is_ascii(name)) {
      return invalid_argument(fmt::format("\"{}\" cannot be encoded as an IA5String", name));
    }
    der_append_header(content, tag::context(kind), name.size());
    content += name;
    return {};
  };
  for (const std::string& name : dns) {
    TRY(append(kDnsName, name));
  }
  for (const std::string& name : uris) {
    TRY(append(kUri, name));
  }
  return der(tag::kSequence, content);
}

}  // namespace steeple::x509
