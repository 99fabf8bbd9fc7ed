// SPDX-License-Identifier: Apache-2.0

#include "lib/x509/certificate.h"

#include <algorithm>
#include <array>

#include "lib/base/limits.h"
#include "lib/crypto/der.h"
#include "lib/x509/encoding.h"

namespace steeple::x509 {

using crypto::DerReader;
namespace tag = crypto::tag;

namespace {

constexpr std::size_t kSerialBytesMax = 32;
constexpr std::uint64_t kVersion3 = 2;
constexpr std::uint64_t kPathLengthMax = 1000;

}  // namespace

// Fills a Certificate from its own bytes, so that every view points into them.
class CertificateParser {
 public:
  explicit CertificateParser(Certificate& out) : out_(out) {}

  Result<void> run() {
    DerReader outer = TRY(crypto::der_enter_only(out_.der_, tag::kSequence));
    DerReader::Element tbs = TRY(outer.element(tag::kSequence));
    DerReader::Element algorithm = TRY(outer.element(tag::kSequence));
    out_.signature_ = TRY(outer.bit_string());
    TRY(outer.finish());
    out_.tbs_ = tbs.raw;
    out_.algorithm_ = algorithm_of(algorithm.raw);
    return read_tbs(algorithm.raw);
  }

 private:
  Result<void> read_tbs(ByteView outer_algorithm) {
    DerReader tbs = TRY(crypto::der_enter_only(out_.tbs_, tag::kSequence));
    std::uint64_t version = 0;
    if (tbs.peek() == tag::context_constructed(0)) {
      DerReader holder = TRY(tbs.enter(tag::context_constructed(0)));
      version = TRY(holder.small_integer());
      TRY(holder.finish());
      if (version == 0 || version > kVersion3) {
        return invalid_argument("invalid version");
      }
    }
    out_.serial_ = TRY(tbs.unsigned_integer());
    if (out_.serial_.size() > kSerialBytesMax) {
      return invalid_argument("serial number is too long");
    }
    if (TRY(tbs.element(tag::kSequence)).raw != outer_algorithm) {
      return invalid_argument("inner and outer signature algorithm identifiers don't match");
    }
    out_.issuer_ = TRY(tbs.element(tag::kSequence)).raw;
    DerReader validity = TRY(tbs.enter(tag::kSequence));
    out_.not_before_ = TRY(validity.time());
    out_.not_after_ = TRY(validity.time());
    TRY(validity.finish());
    out_.subject_ = TRY(tbs.element(tag::kSequence)).raw;
    ByteView spki = TRY(tbs.element(tag::kSequence)).raw;
    out_.public_key_ = TRY(crypto::PublicKey::from_spki(spki));
    TRY(tbs.optional(tag::context(1)));  // issuerUniqueID
    TRY(tbs.optional(tag::context(2)));  // subjectUniqueID
    if (version == kVersion3 && tbs.peek() == tag::context_constructed(3)) {
      DerReader holder = TRY(tbs.enter(tag::context_constructed(3)));
      DerReader extensions = TRY(holder.enter(tag::kSequence));
      TRY(read_all_extensions(extensions));
      TRY(holder.finish());
    }
    return tbs.finish();
  }

  Result<void> read_all_extensions(DerReader reader) {
    std::vector<RawExtension> all = TRY(read_extensions(reader));
    for (const RawExtension& extension : all) {
      bool known = TRY(read_extension(extension));
      out_.unhandled_critical_ = out_.unhandled_critical_ || (extension.critical && !known);
      out_.extensions_.push_back(
          {Bytes(extension.oid), extension.critical, Bytes(extension.value)});
    }
    return {};
  }

  Result<bool> read_extension(const RawExtension& extension) {
    DerReader value(extension.value);
    if (extension.oid == oid::kKeyUsage) {
      out_.key_usage_ = TRY(value.named_bits());
      TRY(value.finish());
    } else if (extension.oid == oid::kBasicConstraints) {
      TRY(read_basic_constraints(extension.value));
    } else if (extension.oid == oid::kSubjectKeyId) {
      out_.subject_key_id_ = TRY(value.octet_string());
      TRY(value.finish());
    } else if (extension.oid == oid::kAuthorityKeyId) {
      TRY(read_authority_key_id(extension.value));
    } else if (extension.oid == oid::kSubjectAltName) {
      AltNames names = TRY(read_alt_names(extension.value));
      bool any = !names.dns.empty() || !names.uris.empty() || !names.ips.empty();
      out_.dns_sans_ = std::move(names.dns);
      out_.uri_sans_ = std::move(names.uris);
      out_.ip_sans_ = std::move(names.ips);
      return any;
    } else if (extension.oid == oid::kExtendedKeyUsage) {
      TRY(read_extended_key_usage(extension.value));
    } else if (extension.oid == oid::kNameConstraints) {
      out_.name_constraints_ = extension.value;
    } else {
      // Any policy will do for us, and we do not fetch CRLs: both are safe to pass over.
      return extension.oid == oid::kCertificatePolicies ||
             extension.oid == oid::kCrlDistributionPoints;
    }
    return true;
  }

  Result<void> read_basic_constraints(ByteView value) {
    DerReader fields = TRY(crypto::der_enter_only(value, tag::kSequence));
    out_.has_basic_constraints_ = true;
    if (fields.peek() == tag::kBoolean) {
      out_.is_ca_ = TRY(fields.boolean());
    }
    if (fields.peek() == tag::kInteger) {
      std::uint64_t length = TRY(fields.small_integer());
      out_.path_length_max_ = static_cast<int>(std::min(length, kPathLengthMax));
    }
    return fields.finish();
  }

  Result<void> read_authority_key_id(ByteView value) {
    DerReader fields = TRY(crypto::der_enter_only(value, tag::kSequence));
    if (auto id = TRY(fields.optional(tag::context(0)))) {
      out_.authority_key_id_ = id->content;
    }
    TRY(fields.optional(tag::context_constructed(1)));  // authorityCertIssuer
    TRY(fields.optional(tag::context(2)));              // authorityCertSerialNumber
    return fields.finish();
  }

  Result<void> read_extended_key_usage(ByteView value) {
    DerReader fields = TRY(crypto::der_enter_only(value, tag::kSequence));
    do {
      out_.extended_key_usage_.push_back(TRY(fields.oid()));
    } while (!fields.empty());
    return {};
  }

  Certificate& out_;
};

Result<CertificatePtr> Certificate::parse(ByteView der) {
  if (der.size() > limits::kCertificateBytesMax) {
    return invalid_argument("x509: malformed certificate: too large");
  }
  struct Access : Certificate {};  // the constructor is for parse alone
  auto certificate = std::make_shared<Access>();
  certificate->der_ = Bytes(der);
  TRY(CertificateParser(*certificate).run().during("x509: malformed certificate"));
  return CertificatePtr(std::move(certificate));
}

std::string Certificate::serial_decimal() const { return decimal(serial_); }

bool Certificate::extended_key_usage_server_auth() const {
  return std::find(extended_key_usage_.begin(), extended_key_usage_.end(), oid::kServerAuth) !=
         extended_key_usage_.end();
}

bool Certificate::extended_key_usage_client_auth() const {
  return std::find(extended_key_usage_.begin(), extended_key_usage_.end(), oid::kClientAuth) !=
         extended_key_usage_.end();
}

Result<void> Certificate::check_signature(const crypto::PublicKey& key) const {
  if (!algorithm_) {
    return Error{Code::kUnauthenticated, "x509: cannot verify signature: algorithm unimplemented"};
  }
  if (!key.verify(*algorithm_, tbs_, signature_).ok()) {
    bool rsa = key.kind() == crypto::KeyKind::kRsa;
    return Error{Code::kUnauthenticated,
                 rsa ? "crypto/rsa: verification error" : "x509: ECDSA verification failure"};
  }
  return {};
}

// Long division by 10^9, most significant byte first.
std::string decimal(ByteView magnitude) {
  constexpr std::uint32_t kBase = 1'000'000'000;
  std::vector<std::uint32_t> digits = {0};  // least significant first, base 10^9
  for (char c : magnitude) {
    std::uint64_t carry = static_cast<unsigned char>(c);
    for (std::uint32_t& digit : digits) {
      carry += std::uint64_t{digit} << 8;
      digit = static_cast<std::uint32_t>(carry % kBase);
      carry /= kBase;
    }
    if (carry != 0) {
      digits.push_back(static_cast<std::uint32_t>(carry));
    }
  }
  std::string out = std::to_string(digits.back());
  for (auto digit = digits.rbegin() + 1; digit != digits.rend(); ++digit) {
    std::string part = std::to_string(*digit);
    out.append(9 - part.size(), '0');
    out += part;
  }
  return out;
}

}  // namespace steeple::x509
