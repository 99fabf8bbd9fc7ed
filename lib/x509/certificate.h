// SPDX-License-Identifier: Apache-2.0

// A certificate, parsed once by our own strict reader (RFC 5280 profile, DER only) into an
// immutable value that keeps its bytes. No OpenSSL object behind it: its parser costs 240 us a
// certificate in 3.0. Shared as CertificatePtr; any thread.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/crypto/public_key.h"
#include "lib/x509/name.h"

namespace steeple::x509 {

// Bits of KeyUsage, in the order of RFC 5280 4.2.1.3.
namespace key_usage {
inline constexpr std::uint16_t kDigitalSignature = 1U << 0;
inline constexpr std::uint16_t kContentCommitment = 1U << 1;
inline constexpr std::uint16_t kKeyEncipherment = 1U << 2;
inline constexpr std::uint16_t kDataEncipherment = 1U << 3;
inline constexpr std::uint16_t kKeyAgreement = 1U << 4;
inline constexpr std::uint16_t kCertSign = 1U << 5;
inline constexpr std::uint16_t kCrlSign = 1U << 6;
}  // namespace key_usage

struct Extension {
  Bytes oid;  // encoded arcs
  bool critical = false;
  Bytes value;
};

class Certificate;
using CertificatePtr = std::shared_ptr<const Certificate>;

class Certificate {
 public:
  // Exactly one certificate. Errors begin with "x509: malformed certificate: " as Go's.
  static Result<CertificatePtr> parse(ByteView der);

  ~Certificate() = default;
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  const Bytes& der() const { return der_; }
  // The serial number as SPIRE stores and prints it.
  std::string serial_decimal() const;
  ByteView serial() const { return serial_; }    // magnitude, big-endian
  ByteView issuer() const { return issuer_; }    // raw Name element
  ByteView subject() const { return subject_; }  // raw Name element
  Result<Name> issuer_name() const { return Name::parse(issuer_); }
  Result<Name> subject_name() const { return Name::parse(subject_); }
  bool subject_empty() const { return subject_.size() == 2; }
  WallTime not_before() const { return not_before_; }
  WallTime not_after() const { return not_after_; }
  const crypto::PublicKey& public_key() const { return *public_key_; }

  ByteView subject_key_id() const { return subject_key_id_; }      // empty when absent
  ByteView authority_key_id() const { return authority_key_id_; }  // empty when absent
  std::optional<std::uint16_t> key_usage() const { return key_usage_; }
  bool has_key_usage(std::uint16_t bit) const { return key_usage_ && (*key_usage_ & bit) != 0; }
  bool has_basic_constraints() const { return has_basic_constraints_; }
  bool is_ca() const { return is_ca_; }
  std::optional<int> path_length_max() const { return path_length_max_; }
  bool has_extended_key_usage() const { return !extended_key_usage_.empty(); }
  bool extended_key_usage_server_auth() const;
  bool extended_key_usage_client_auth() const;
  const std::vector<std::string>& uri_sans() const { return uri_sans_; }
  const std::vector<std::string>& dns_sans() const { return dns_sans_; }
  const std::vector<Bytes>& ip_sans() const { return ip_sans_; }   // 4 or 16 bytes each
  ByteView name_constraints() const { return name_constraints_; }  // raw value, empty when absent
  // Critical extensions this parser does not know: such a certificate is never accepted.
  bool has_unhandled_critical_extension() const { return unhandled_critical_; }
  const std::vector<Extension>& extensions() const { return extensions_; }

  bool self_issued() const { return issuer_ == subject_; }
  // Nothing for algorithms we do not verify (SHA-1, Ed25519): a root may have one, its own
  // signature is never looked at.
  std::optional<crypto::SignatureAlgorithm> signature_algorithm() const { return algorithm_; }
  // Is this certificate signed by `key`? kUnauthenticated when not.
  Result<void> check_signature(const crypto::PublicKey& key) const;
  // Go's CheckSignatureFrom without the key usage rules: `this` is signed by itself.
  bool self_signed() const { return self_issued() && check_signature(public_key()).ok(); }

  friend bool operator==(const Certificate& a, const Certificate& b) { return a.der_ == b.der_; }

 private:
  friend class CertificateParser;
  Certificate() = default;

  Bytes der_;  // the views below point into it
  ByteView tbs_, signature_, serial_, issuer_, subject_;
  WallTime not_before_{}, not_after_{};
  std::optional<crypto::PublicKey> public_key_;
  std::optional<crypto::SignatureAlgorithm> algorithm_;
  ByteView subject_key_id_, authority_key_id_, name_constraints_;
  std::optional<std::uint16_t> key_usage_;
  std::vector<ByteView> extended_key_usage_;
  std::vector<std::string> uri_sans_, dns_sans_;
  std::vector<Bytes> ip_sans_;
  std::vector<Extension> extensions_;
  std::optional<int> path_length_max_;
  bool has_basic_constraints_ = false;
  bool is_ca_ = false;
  bool unhandled_critical_ = false;
};

// DER certificates one after the other, as the Workload API carries chains and bundles.
Result<std::vector<CertificatePtr>> parse_concatenated(ByteView der, std::size_t count_max);
Result<std::vector<CertificatePtr>> parse_chain(const std::vector<Bytes>& chain);
// Splits without parsing further than each outer length.
Result<std::vector<Bytes>> split_concatenated(ByteView der, std::size_t count_max);

// All CERTIFICATE blocks; other labels are refused, as is a text without any block.
Result<std::vector<CertificatePtr>> parse_pem_certificates(std::string_view pem);
std::string certificate_to_pem(ByteView der);
std::string chain_to_pem(const std::vector<Bytes>& chain);

// A big-endian magnitude in decimal, "0" for none.
std::string decimal(ByteView magnitude);

}  // namespace steeple::x509
