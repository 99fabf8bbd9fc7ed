// SPDX-License-Identifier: Apache-2.0

// Inside lib/x509 only: what certificates and requests have in common on the wire, read and
// written: algorithm identifiers, extensions, subject alternative names.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/crypto/der.h"
#include "lib/crypto/key_type.h"

namespace steeple::x509 {

// Encoded arcs of id-ce-*, RFC 5280 4.2.1.
namespace oid {
inline constexpr ByteView kSubjectKeyId("\x55\x1d\x0e", 3);
inline constexpr ByteView kKeyUsage("\x55\x1d\x0f", 3);
inline constexpr ByteView kSubjectAltName("\x55\x1d\x11", 3);
inline constexpr ByteView kBasicConstraints("\x55\x1d\x13", 3);
inline constexpr ByteView kNameConstraints("\x55\x1d\x1e", 3);
inline constexpr ByteView kCrlDistributionPoints("\x55\x1d\x1f", 3);
inline constexpr ByteView kCertificatePolicies("\x55\x1d\x20", 3);
inline constexpr ByteView kAuthorityKeyId("\x55\x1d\x23", 3);
inline constexpr ByteView kExtendedKeyUsage("\x55\x1d\x25", 3);
inline constexpr ByteView kServerAuth("\x2b\x06\x01\x05\x05\x07\x03\x01", 8);
inline constexpr ByteView kClientAuth("\x2b\x06\x01\x05\x05\x07\x03\x02", 8);
inline constexpr ByteView kExtensionRequest("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e", 9);  // PKCS#9
}  // namespace oid

inline constexpr std::size_t kExtensionsMax = 64;
inline constexpr std::size_t kSansMax = 1024;

// The whole AlgorithmIdentifier element.
ByteView algorithm_identifier(crypto::SignatureAlgorithm algorithm);
// Nothing when it is none of ours.
std::optional<crypto::SignatureAlgorithm> algorithm_of(ByteView algorithm_identifier);

struct RawExtension {
  ByteView oid;
  bool critical = false;
  ByteView value;
};
// The content of an Extensions SEQUENCE; duplicates are refused.
Result<std::vector<RawExtension>> read_extensions(crypto::DerReader reader);
Bytes encode_extension(ByteView oid, bool critical, ByteView value);

struct AltNames {
  std::vector<std::string> dns, uris;
  std::vector<Bytes> ips;
  bool others = false;  // there were names of other kinds
};
Result<AltNames> read_alt_names(ByteView value);
// DNS names first, then URIs, as Go. kInvalidArgument when a name is not ASCII.
Result<Bytes> encode_alt_names(std::span<const std::string> dns, std::span<const std::string> uris);

}  // namespace steeple::x509
