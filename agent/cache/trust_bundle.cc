// SPDX-License-Identifier: Apache-2.0

#include "agent/cache/trust_bundle.h"

#include "lib/jose/bundle_document.h"

namespace steeple::agent {

Result<std::shared_ptr<const TrustBundle>> TrustBundle::make(jose::Bundle bundle) {
  auto out = std::make_shared<TrustBundle>(TrustBundle{std::move(bundle), {}, {}, {}, {}});
  auto authorities = std::make_shared<x509::Authorities>();
  for (const jose::X509Authority& authority : out->bundle.x509_authorities) {
    authorities->push_back(TRY(x509::Certificate::parse(authority.der)));
    out->x509_der += authority.der;
  }
  out->authorities = std::move(authorities);
  for (const jose::JwtAuthority& authority : out->bundle.jwt_authorities) {
    auto key = TRY(crypto::PublicKey::from_spki(authority.spki_der));
    out->jwt_keys.insert_or_assign(authority.key_id,
                                   std::make_shared<const crypto::PublicKey>(std::move(key)));
  }
  out->jwks = TRY(jose::encode_jwt_bundle(out->bundle));
  return std::shared_ptr<const TrustBundle>(std::move(out));
}

}  // namespace steeple::agent
