// SPDX-License-Identifier: Apache-2.0

#include "lib/x509/csr.h"

#include "lib/base/limits.h"
#include "lib/crypto/der.h"
#include "lib/x509/encoding.h"

namespace steeple::x509 {
namespace {

using crypto::der;
using crypto::der_sequence;
using crypto::DerReader;
namespace tag = crypto::tag;

constexpr std::size_t kAttributesMax = 16;

// The extensions of an extensionRequest attribute (RFC 2985 5.4.2), of which we keep the names.
Result<AltNames> read_requested_names(DerReader attributes) {
  AltNames names;
  bool seen = false;
  for (std::size_t count = 0; !attributes.empty(); ++count) {
    if (count == kAttributesMax) {
      return invalid_argument("too many attributes");
    }
    DerReader attribute = TRY(attributes.enter(tag::kSequence));
    ByteView type = TRY(attribute.oid());
    DerReader values = TRY(attribute.enter(tag::kSet));
    TRY(attribute.finish());
    if (type != oid::kExtensionRequest) {
      continue;
    }
    if (seen) {
      return invalid_argument("duplicate extension request");
    }
    seen = true;
    DerReader extensions = TRY(values.enter(tag::kSequence));
    TRY(values.finish());
    std::vector<RawExtension> all = TRY(read_extensions(extensions));
    for (const RawExtension& extension : all) {
      if (extension.oid == oid::kSubjectAltName) {
        names = TRY(read_alt_names(extension.value));
      }
    }
  }
  return names;
}

}  // namespace

Result<CertificateRequest> CertificateRequest::parse(ByteView bytes) {
  if (bytes.size() > limits::kCsrBytesMax) {
    return invalid_argument("certificate request is too large");
  }
  DerReader outer = TRY(crypto::der_enter_only(bytes, tag::kSequence));
  DerReader::Element info = TRY(outer.element(tag::kSequence));
  auto algorithm = algorithm_of(TRY(outer.element(tag::kSequence)).raw);
  if (!algorithm) {
    return invalid_argument("unsupported signature algorithm");
  }
  ByteView signature = TRY(outer.bit_string());
  TRY(outer.finish());

  DerReader fields = TRY(crypto::der_enter_only(info.raw, tag::kSequence));
  if (TRY(fields.small_integer()) != 0) {
    return invalid_argument("unknown version of certificate request");
  }
  ByteView subject = TRY(fields.element(tag::kSequence)).raw;
  ByteView spki = TRY(fields.element(tag::kSequence)).raw;
  CertificateRequest request(TRY(crypto::PublicKey::from_spki(spki)));
  if (!fields.empty()) {
    DerReader attributes = TRY(fields.enter(tag::context_constructed(0)));
    AltNames names = TRY(read_requested_names(attributes));
    request.uri_sans_ = std::move(names.uris);
    request.dns_sans_ = std::move(names.dns);
  }
  TRY(fields.finish());
  TRY(Name::parse(subject));
  request.subject_ = Bytes(subject);
  request.info_ = Bytes(info.raw);
  request.signature_ = Bytes(signature);
  request.algorithm_ = *algorithm;
  return request;
}

Result<void> CertificateRequest::check_signature() const {
  return public_key_.verify(algorithm_, info_, signature_);
}

Result<CertificateRequest> CertificateRequest::parse_and_verify(ByteView bytes) {
  CertificateRequest request = TRY(parse(bytes));
  TRY(request.check_signature());
  return request;
}

Result<Bytes> build_csr(const crypto::Signer& key, const CsrOptions& options) {
  Bytes attributes;
  if (!options.uri_sans.empty() || !options.dns_sans.empty()) {
    Bytes names = TRY(encode_alt_names(options.dns_sans, options.uri_sans));
    Bytes extensions = der_sequence({encode_extension(oid::kSubjectAltName, false, names)});
    attributes = der_sequence({der(tag::kOid, oid::kExtensionRequest), der(tag::kSet, extensions)});
  }
  Bytes subject = TRY(options.subject.encode());
  Bytes info = der_sequence({crypto::der_unsigned_integer({}), subject, key.public_key().spki(),
                             der(tag::context_constructed(0), attributes)});
  crypto::SignatureAlgorithm algorithm = crypto::default_algorithm(key.key_type());
  Bytes signature = TRY(key.sign(algorithm, info));
  return der_sequence({info, algorithm_identifier(algorithm), crypto::der_bit_string(signature)});
}

}  // namespace steeple::x509
