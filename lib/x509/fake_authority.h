// SPDX-License-Identifier: Apache-2.0

// A certificate authority in memory for tests: real keys, real certificates, an injected time.
// Any test may use it; nothing that ships does.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/fake_random.h"
#include "lib/x509/builder.h"
#include "lib/x509/verify.h"

namespace steeple::x509 {

class FakeAuthority {
 public:
  struct Svid {
    std::vector<Bytes> chain;  // leaf first
    std::shared_ptr<const crypto::PrivateKey> key;
  };

  FakeAuthority(std::string_view domain, WallTime now, Duration ttl = std::chrono::hours(24),
                crypto::KeyType type = crypto::KeyType::kEcP256)
      : domain_(spiffe::TrustDomain::parse(domain).take()),
        key_(crypto::PrivateKey::generate(type).take()),
        random_(key_->public_key().spki().size() + std::hash<Bytes>()(key_->public_key().spki())) {
    Bytes serial = random_serial(random_);
    CaOptions options{domain_.id(), ca_subject({}, serial).encode().take(), serial,
                      validity(now, ttl)};
    certificate_ = Certificate::parse(build_self_signed_ca(options, *key_).take()).take();
  }

  const CertificatePtr& certificate() const { return certificate_; }
  const spiffe::TrustDomain& domain() const { return domain_; }
  const std::shared_ptr<const crypto::PrivateKey>& key() const { return key_; }
  Authorities roots() const {
    return {presented_.empty() ? certificate_ : Certificate::parse(presented_.back()).take()};
  }
  // For verify_svid: knows this trust domain only.
  AuthoritiesOf authorities() const {
    auto roots = std::make_shared<const Authorities>(this->roots());
    return [roots, domain = domain_](const spiffe::TrustDomain& asked) {
      return asked == domain ? roots : AuthoritiesPtr();
    };
  }
  std::shared_ptr<const Issuer> issuer() const { return Issuer::make(certificate_, key_).take(); }

  // `id` with or without the trust domain: "/web" or "spiffe://other/web".
  Svid issue(std::string_view id, WallTime now, Duration ttl = std::chrono::hours(1)) {
    auto parsed = id.starts_with('/') ? spiffe::SpiffeId::make(domain_, id).take()
                                      : spiffe::SpiffeId::parse(id).take();
    auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
    Bytes subject = svid_subject({}, {}).take();
    SvidOptions options{parsed, key->public_key(), subject, random_serial(random_),
                        validity(now, ttl)};
    std::vector<Bytes> chain = {issuer()->issue_svid(options).take()};
    if (!presented_.empty()) {  // the root is never in a chain
      chain.insert(chain.end(), presented_.begin(), presented_.end() - 1);
    }
    return {std::move(chain), std::move(key)};
  }

  // An authority of the same trust domain below this one.
  FakeAuthority intermediate(WallTime now, Duration ttl = std::chrono::hours(12)) {
    FakeAuthority child = *this;
    child.key_ = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
    Bytes serial = random_serial(random_);
    CaOptions options{domain_.id(), ca_subject({}, serial).encode().take(), serial,
                      validity(now, ttl)};
    Bytes der = issuer()->issue_ca(options, child.key_->public_key()).take();
    child.certificate_ = Certificate::parse(der).take();
    if (child.presented_.empty()) {
      child.presented_ = {certificate_->der()};
    }
    child.presented_.insert(child.presented_.begin(), der);
    return child;
  }

 private:
  spiffe::TrustDomain domain_;
  std::shared_ptr<const crypto::PrivateKey> key_;
  CertificatePtr certificate_;
  std::vector<Bytes> presented_;  // of an intermediate: itself up to the root
  SeededRandom random_;
};

}  // namespace steeple::x509
