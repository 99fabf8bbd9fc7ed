// SPDX-License-Identifier: Apache-2.0

#include "spiffe/svid/x509_svid.h"

#include "lib/base/limits.h"
#include "lib/x509/verify.h"

namespace spiffe {

using steeple::Bytes;
using steeple::ByteView;
using steeple::invalid_argument;
using steeple::Result;
using steeple::crypto::PrivateKey;
using steeple::x509::CertificatePtr;
namespace key_usage = steeple::x509::key_usage;

Result<X509Svid> X509Svid::parse(ByteView chain, ByteView key, std::string hint) {
  auto certificates =
      TRY(steeple::x509::parse_concatenated(chain, steeple::limits::kChainCertificatesMax)
              .during("x509svid: cannot parse certificate"));
  auto parsed_key = TRY(PrivateKey::from_pkcs8(key).during("x509svid: cannot parse private key"));
  return make(std::move(certificates), std::move(parsed_key), std::move(hint));
}

Result<X509Svid> X509Svid::parse_pem(std::string_view chain, std::string_view key) {
  auto certificates = TRY(steeple::x509::parse_pem_certificates(chain).during(
      "x509svid: cannot parse PEM encoded certificate"));
  auto parsed_key =
      TRY(PrivateKey::from_pem(key).during("x509svid: cannot parse PEM encoded private key"));
  return make(std::move(certificates), std::move(parsed_key), {});
}

Result<X509Svid> X509Svid::make(std::vector<CertificatePtr> chain,
                                std::shared_ptr<const PrivateKey> key, std::string hint) {
  if (chain.empty()) {
    return invalid_argument("x509svid: no certificates found");
  }
  const steeple::x509::Certificate& leaf = *chain.front();
  auto id = TRY(
      steeple::x509::id_from_certificate(leaf).during("x509svid: certificate validation failed"));
  if (id.path().empty()) {  // X509-SVID section 5.2
    return invalid_argument("x509svid: leaf certificate's SPIFFE ID has no path");
  }
  if (leaf.is_ca() || leaf.has_key_usage(key_usage::kCertSign) ||
      leaf.has_key_usage(key_usage::kCrlSign)) {
    return invalid_argument("x509svid: leaf certificate is a signing certificate");
  }
  if (!leaf.has_key_usage(key_usage::kDigitalSignature)) {
    return invalid_argument("x509svid: leaf certificate must have 'digitalSignature' as key usage");
  }
  if (!(leaf.public_key() == key->public_key())) {
    return invalid_argument("x509svid: leaf certificate does not match private key");
  }
  return X509Svid(std::move(id), std::move(chain), std::move(key), std::move(hint));
}

std::vector<Bytes> X509Svid::chain_der() const {
  std::vector<Bytes> out;
  out.reserve(chain_.size());
  for (const CertificatePtr& certificate : chain_) {
    out.push_back(certificate->der());
  }
  return out;
}

}  // namespace spiffe
