// SPDX-License-Identifier: Apache-2.0

#include "lib/x509/builder.h"

#include <fmt/format.h>

#include <array>

#include "lib/crypto/der.h"
#include "lib/x509/csr.h"
#include "lib/x509/encoding.h"

namespace steeple::x509 {
namespace {

using crypto::der;
using crypto::der_append_header;
using crypto::der_sequence;
namespace tag = crypto::tag;

constexpr std::size_t kSerialBytes = 16;
constexpr ByteView kVersion3("\xa0\x03\x02\x01\x02", 5);

constexpr std::uint16_t kSvidKeyUsage =
    key_usage::kDigitalSignature | key_usage::kKeyEncipherment | key_usage::kKeyAgreement;

Bytes key_id_extension(ByteView id) {
  return encode_extension(oid::kSubjectKeyId, false, der(tag::kOctetString, id));
}

Bytes authority_extension(ByteView id) {
  if (id.empty()) {
    return {};
  }
  return encode_extension(oid::kAuthorityKeyId, false, der_sequence({der(tag::context(0), id)}));
}

// KeyUsage, ExtendedKeyUsage, BasicConstraints: the same in every SVID.
Bytes svid_head() {
  Bytes usages = der_sequence({der(tag::kOid, oid::kServerAuth), der(tag::kOid, oid::kClientAuth)});
  return encode_extension(oid::kKeyUsage, true, crypto::der_named_bits(kSvidKeyUsage)) +
         encode_extension(oid::kExtendedKeyUsage, false, usages) +
         encode_extension(oid::kBasicConstraints, true, der_sequence({}));
}

Bytes ca_head() {
  Bytes usage = crypto::der_named_bits(key_usage::kCertSign | key_usage::kCrlSign);
  Bytes constraints = der_sequence({crypto::der_boolean_true()});
  return encode_extension(oid::kKeyUsage, true, usage) +
         encode_extension(oid::kBasicConstraints, true, constraints);
}

// RFC 5280 4.2.1.6: critical when the subject is empty.
Result<Bytes> names_extension(std::span<const std::string> dns, const std::string& uri,
                              ByteView subject) {
  constexpr std::size_t kEmptyNameBytes = 2;
  Bytes names = TRY(encode_alt_names(dns, std::span(&uri, 1)));
  return encode_extension(oid::kSubjectAltName, subject.size() == kEmptyNameBytes, names);
}

struct Parts {
  ByteView serial;
  ByteView algorithm_and_issuer;
  const Validity& validity;
  ByteView subject;
  ByteView spki;
  std::array<ByteView, 4> extensions;
};

Result<Bytes> sign_certificate(const Parts& parts, crypto::SignatureAlgorithm algorithm,
                               const crypto::Signer& key) {
  if (parts.serial.empty() || parts.serial.find_first_not_of('\0') == ByteView::npos) {
    return invalid_argument("x509: serial number must be positive");
  }
  if (parts.validity.not_after < parts.validity.not_before) {
    return invalid_argument("x509: certificate ends before it begins");
  }
  std::size_t extension_bytes = 0;
  for (ByteView extension : parts.extensions) {
    extension_bytes += extension.size();
  }
  Bytes list;
  list.reserve(extension_bytes + 6);
  der_append_header(list, tag::kSequence, extension_bytes);
  for (ByteView extension : parts.extensions) {
    list += extension;
  }
  Bytes validity = der_sequence(
      {crypto::der_time(parts.validity.not_before), crypto::der_time(parts.validity.not_after)});
  Bytes tbs = der_sequence({kVersion3, crypto::der_unsigned_integer(parts.serial),
                            parts.algorithm_and_issuer, validity, parts.subject, parts.spki,
                            der(tag::context_constructed(3), list)});
  Bytes signature = TRY(key.sign(algorithm, tbs));
  return der_sequence({tbs, algorithm_identifier(algorithm), crypto::der_bit_string(signature)});
}

Bytes algorithm_and_issuer(crypto::SignatureAlgorithm algorithm, ByteView issuer) {
  Bytes out(algorithm_identifier(algorithm));
  out += issuer;
  return out;
}

Result<void> check_uri(const Certificate& certificate, bool required, const std::string& id) {
  const std::vector<std::string>& uris = certificate.uri_sans();
  if (uris.empty()) {
    return required ? Result<void>(invalid_argument("missing URI SAN")) : Result<void>();
  }
  if (uris.size() > 1) {
    return invalid_argument(
        fmt::format("expected URI SAN \"{}\" but got [{}]", id, fmt::join(uris, " ")));
  }
  if (uris[0] != id) {
    return invalid_argument(fmt::format("expected URI SAN \"{}\" but got \"{}\"", id, uris[0]));
  }
  return {};
}

Result<void> check_life_and_key(const Certificate& certificate, const crypto::PublicKey& key,
                                WallTime now) {
  if (now < certificate.not_before()) {
    return invalid_argument(
        fmt::format("not yet valid until {}", format_rfc3339(certificate.not_before())));
  }
  if (now > certificate.not_after()) {
    return invalid_argument(
        fmt::format("already expired as of {}", format_rfc3339(certificate.not_after())));
  }
  if (certificate.public_key() != key) {
    return invalid_argument("public key is not the one that was asked for");
  }
  return {};
}

Result<void> check_svid_usages(const Certificate& svid) {
  if (!svid.has_basic_constraints()) {
    return invalid_argument("basic constraints are not valid");
  }
  if (svid.is_ca()) {
    return invalid_argument("cA constraint must not be set");
  }
  if (!svid.has_key_usage(key_usage::kDigitalSignature)) {
    return invalid_argument("digitalSignature key usage must be set");
  }
  if ((*svid.key_usage() & ~kSvidKeyUsage) != 0) {
    return invalid_argument(
        "only digitalSignature, keyEncipherment, and keyAgreement key usage can be set");
  }
  bool server = svid.extended_key_usage_server_auth();
  bool client = svid.extended_key_usage_client_auth();
  if (svid.has_extended_key_usage() && !(server && client)) {
    std::string_view what = server   ? "clientAuth"
                            : client ? "serverAuth"
                                     : "both serverAuth and clientAuth";
    return invalid_argument(fmt::format("missing {} extended key usage", what));
  }
  return {};
}

Result<void> check_ca_usages(const Certificate& ca) {
  constexpr std::uint16_t kAllowed =
      key_usage::kCertSign | key_usage::kCrlSign | key_usage::kDigitalSignature;
  if (!ca.has_basic_constraints()) {
    return invalid_argument("basic constraints are not valid");
  }
  if (!ca.is_ca()) {
    return invalid_argument("cA constraint is not set");
  }
  if (!ca.has_key_usage(key_usage::kCertSign)) {
    return invalid_argument("keyCertSign key usage must be set");
  }
  if ((*ca.key_usage() & ~kAllowed) != 0) {
    return invalid_argument("only keyCertSign, cRLSign, or digitalSignature key usage can be set");
  }
  return {};
}

}  // namespace

Validity validity(WallTime now, Duration ttl) {
  return {truncate_to_seconds(now - kNotBeforeCushion), truncate_to_seconds(now + ttl)};
}

Validity capped_validity(WallTime now, Duration ttl, WallTime cap) {
  Validity span = validity(now, ttl);
  span.not_after = std::min(span.not_after, truncate_to_seconds(cap));
  return span;
}

Bytes random_serial(Random& random) {
  while (true) {
    Bytes serial = random.bytes(kSerialBytes);
    serial.erase(0, std::min(serial.find_first_not_of('\0'), serial.size()));
    if (!serial.empty()) {
      return serial;
    }
  }
}

Name ca_subject(const Name& configured, ByteView serial) {
  Name subject = configured.empty() ? default_ca_subject() : configured;
  if (subject.serial_number.empty()) {
    subject.serial_number = decimal(serial);
  }
  return subject;
}

Result<Name> downstream_ca_subject(const Certificate& parent, std::size_t chain_length) {
  Name subject = TRY(parent.subject_name());
  subject.organizational_unit = {fmt::format("DOWNSTREAM-{}", chain_length)};
  return subject;
}

Result<Bytes> svid_subject(const Name& base, const std::vector<std::string>& dns_names) {
  Name subject = base.empty() ? default_svid_subject() : base;
  if (!dns_names.empty()) {
    subject.common_name = dns_names.front();
  }
  return subject.encode();
}

Result<Bytes> build_self_signed_ca(const CaOptions& options, const crypto::Signer& key) {
  crypto::SignatureAlgorithm algorithm = crypto::default_algorithm(key.key_type());
  Bytes head = ca_head();
  Bytes key_id = key_id_extension(key.public_key().subject_key_id());
  Bytes names = TRY(names_extension({}, options.id.text(), options.subject));
  return sign_certificate({options.serial,
                           algorithm_and_issuer(algorithm, options.subject),
                           options.validity,
                           options.subject,
                           key.public_key().spki(),
                           {head, key_id, names, ByteView()}},
                          algorithm, key);
}

Result<Bytes> build_ca_csr(const spiffe::TrustDomain& domain, const Name& subject,
                           const crypto::Signer& key) {
  CsrOptions options;
  options.subject = subject;
  options.uri_sans = {domain.id_string()};
  return build_csr(key, options);
}

Result<std::shared_ptr<const Issuer>> Issuer::make(CertificatePtr certificate,
                                                   std::shared_ptr<const crypto::Signer> key) {
  CHECK(certificate != nullptr && key != nullptr);
  if (certificate->public_key() != key->public_key()) {
    return invalid_argument("x509: CA certificate and signing key do not match");
  }
  if (!certificate->is_ca() ||
      (certificate->key_usage() && !certificate->has_key_usage(key_usage::kCertSign))) {
    return invalid_argument("x509: certificate is not allowed to sign certificates");
  }
  struct Access : Issuer {};  // the constructor is for make alone
  auto issuer = std::make_shared<Access>();
  issuer->algorithm_ = crypto::default_algorithm(key->key_type());
  issuer->algorithm_and_issuer_ = algorithm_and_issuer(issuer->algorithm_, certificate->subject());
  issuer->svid_extensions_head_ = svid_head();
  issuer->authority_key_id_ = authority_extension(certificate->subject_key_id());
  issuer->certificate_ = std::move(certificate);
  issuer->key_ = std::move(key);
  return std::shared_ptr<const Issuer>(std::move(issuer));
}

Result<Bytes> Issuer::issue_svid(const SvidOptions& options) const {
  Bytes key_id = key_id_extension(options.public_key.subject_key_id());
  Bytes names = TRY(names_extension(options.dns_names, options.id.text(), options.subject));
  return sign_certificate({options.serial,
                           algorithm_and_issuer_,
                           options.validity,
                           options.subject,
                           options.public_key.spki(),
                           {svid_extensions_head_, key_id, authority_key_id_, names}},
                          algorithm_, *key_);
}

Result<Bytes> Issuer::issue_ca(const CaOptions& options,
                               const crypto::PublicKey& public_key) const {
  Bytes head = ca_head();
  Bytes key_id = key_id_extension(public_key.subject_key_id());
  Bytes names = TRY(names_extension({}, options.id.text(), options.subject));
  return sign_certificate({options.serial,
                           algorithm_and_issuer_,
                           options.validity,
                           options.subject,
                           public_key.spki(),
                           {head, key_id, authority_key_id_, names}},
                          algorithm_, *key_);
}

Result<void> validate_issued_svid(const Certificate& svid, const spiffe::SpiffeId& id,
                                  const crypto::PublicKey& public_key, WallTime now) {
  constexpr std::string_view kDoing = "invalid X509-SVID";
  TRY(check_svid_usages(svid).during(kDoing));
  TRY(check_uri(svid, true, id.text()).during(kDoing));
  return check_life_and_key(svid, public_key, now).during(kDoing);
}

Result<void> validate_issued_ca(const Certificate& ca, const spiffe::TrustDomain& domain,
                                const crypto::PublicKey& public_key, WallTime now) {
  constexpr std::string_view kDoing = "invalid X509 CA";
  TRY(check_ca_usages(ca).during(kDoing));
  TRY(check_uri(ca, false, domain.id_string()).during(kDoing));
  return check_life_and_key(ca, public_key, now).during(kDoing);
}

}  // namespace steeple::x509
