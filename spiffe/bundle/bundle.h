// SPDX-License-Identifier: Apache-2.0

// Trust bundles as a relying party uses them: what signs for a trust domain, parsed once. A
// BundleSet holds one bundle per trust domain, X.509 and JWT authorities together; a set made of
// X.509 bundles has no JWT authorities, and the other way round. Immutable, any thread.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "lib/base/result.h"
#include "lib/crypto/public_key.h"
#include "lib/x509/verify.h"
#include "spiffe/trust_domain.h"

namespace spiffe {

class Bundle {
 public:
  explicit Bundle(TrustDomain domain) : domain_(std::move(domain)) {}

  // DER certificates one after the other, as the Workload API carries them.
  static steeple::Result<Bundle> from_x509(const TrustDomain& domain, steeple::ByteView der);
  static steeple::Result<Bundle> from_x509_pem(const TrustDomain& domain, std::string_view pem);
  // A JWK set of JWT authorities as the Workload API carries it: every key counts, with or without
  // `use`; each needs a key id.
  static steeple::Result<Bundle> from_jwks(const TrustDomain& domain, std::string_view json);
  // A SPIFFE bundle document; takes both kinds of keys, told apart by `use`.
  static steeple::Result<Bundle> from_document(const TrustDomain& domain, std::string_view json);

  const TrustDomain& trust_domain() const { return domain_; }
  // Never null; empty means that nothing of this domain is trusted.
  const steeple::x509::AuthoritiesPtr& x509_authorities() const { return x509_; }
  // Null for an unknown key id.
  std::shared_ptr<const steeple::crypto::PublicKey> jwt_authority(std::string_view key_id) const;
  std::size_t jwt_authority_count() const { return jwt_.size(); }
  // The JWT authorities as a JWK set, in order of their key ids, without `use`: as go-spiffe writes
  // them.
  std::string jwks() const;

 private:
  TrustDomain domain_;
  steeple::x509::AuthoritiesPtr x509_ = std::make_shared<const steeple::x509::Authorities>();
  std::map<std::string, std::shared_ptr<const steeple::crypto::PublicKey>, std::less<>> jwt_;
};

class BundleSet {
 public:
  void put(Bundle bundle);
  // Null when there is none.
  std::shared_ptr<const Bundle> find(const TrustDomain& domain) const;
  const std::map<TrustDomain, std::shared_ptr<const Bundle>>& all() const { return bundles_; }
  std::size_t size() const { return bundles_.size(); }

 private:
  std::map<TrustDomain, std::shared_ptr<const Bundle>> bundles_;
};

}  // namespace spiffe
