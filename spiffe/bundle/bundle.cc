// SPDX-License-Identifier: Apache-2.0

#include "spiffe/bundle/bundle.h"

#include "lib/jose/bundle_document.h"
#include "lib/jose/jwk.h"

namespace spiffe {

using steeple::Result;
using steeple::x509::Authorities;

namespace {
// Certificates in one bundle.
constexpr std::size_t kAuthoritiesMax = 1000;
}  // namespace

Result<Bundle> Bundle::from_x509(const TrustDomain& domain, steeple::ByteView der) {
  Bundle bundle(domain);
  bundle.x509_ = std::make_shared<const Authorities>(
      TRY(steeple::x509::parse_concatenated(der, kAuthoritiesMax)
              .during("x509bundle: cannot parse certificate")));
  return bundle;
}

Result<Bundle> Bundle::from_x509_pem(const TrustDomain& domain, std::string_view pem) {
  Bundle bundle(domain);
  bundle.x509_ = std::make_shared<const Authorities>(TRY(
      steeple::x509::parse_pem_certificates(pem).during("x509bundle: cannot parse certificate")));
  return bundle;
}

Result<Bundle> Bundle::from_jwks(const TrustDomain& domain, std::string_view json) {
  Bundle bundle(domain);
  for (auto& jwk : TRY(steeple::jose::parse_jwks(json).during("jwtbundle: unable to parse JWKS"))) {
    if (jwk.key_id.empty()) {
      return steeple::invalid_argument("jwtbundle: error adding authority: keyID cannot be empty");
    }
    bundle.jwt_.insert_or_assign(
        std::move(jwk.key_id),
        std::make_shared<const steeple::crypto::PublicKey>(std::move(jwk.key)));
  }
  return bundle;
}

Result<Bundle> Bundle::from_document(const TrustDomain& domain, std::string_view json) {
  auto document = TRY(steeple::jose::parse_bundle_document(domain, json));
  Bundle bundle(domain);
  auto authorities = std::make_shared<Authorities>();
  for (const auto& authority : document.x509_authorities) {
    authorities->push_back(TRY(steeple::x509::Certificate::parse(authority.der)));
  }
  bundle.x509_ = std::move(authorities);
  for (const auto& authority : document.jwt_authorities) {
    bundle.jwt_.insert_or_assign(
        authority.key_id, std::make_shared<const steeple::crypto::PublicKey>(
                              TRY(steeple::crypto::PublicKey::from_spki(authority.spki_der))));
  }
  return bundle;
}

std::shared_ptr<const steeple::crypto::PublicKey> Bundle::jwt_authority(
    std::string_view key_id) const {
  auto at = jwt_.find(key_id);
  return at != jwt_.end() ? at->second : nullptr;
}

std::string Bundle::jwks() const {
  std::vector<steeple::jose::Jwk> keys;
  keys.reserve(jwt_.size());
  for (const auto& [key_id, key] : jwt_) {
    keys.push_back({.key = *key, .key_id = key_id});
  }
  return steeple::jose::encode_jwks(keys, steeple::jose::JsonStyle::kCompact);
}

void BundleSet::put(Bundle bundle) {
  TrustDomain domain = bundle.trust_domain();
  bundles_.insert_or_assign(std::move(domain), std::make_shared<const Bundle>(std::move(bundle)));
}

std::shared_ptr<const Bundle> BundleSet::find(const TrustDomain& domain) const {
  auto at = bundles_.find(domain);
  return at != bundles_.end() ? at->second : nullptr;
}

}  // namespace spiffe
