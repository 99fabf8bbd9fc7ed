// SPDX-License-Identifier: Apache-2.0

// Authorities and identities for tests, made in memory by lib/x509: any trust domain, any validity.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/base/fake_clock.h"
#include "lib/base/random.h"
#include "lib/crypto/private_key.h"
#include "lib/tls/handshake.h"
#include "lib/x509/builder.h"
#include "lib/x509/verify.h"
#include "spiffe/spiffe_id.h"

namespace steeple::tls {

class FakeAuthority {
 public:
  FakeAuthority(std::string_view trust_domain, const Clock& clock)
      : domain_(spiffe::TrustDomain::parse(trust_domain).take()), clock_(clock) {
    auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
    x509::CaOptions options{domain_.id(),
                            {},
                            x509::random_serial(system_random()),
                            x509::validity(clock.now(), std::chrono::hours(24))};
    options.subject = x509::ca_subject({}, options.serial).encode().take();
    auto certificate =
        x509::Certificate::parse(x509::build_self_signed_ca(options, *key).take()).take();
    issuer_ = x509::Issuer::make(certificate, key).take();
    root_ = certificate;
  }

  const spiffe::TrustDomain& domain() const { return domain_; }
  x509::AuthoritiesPtr bundle() const {
    return std::make_shared<const x509::Authorities>(x509::Authorities{root_});
  }

  // Valid from an hour ago until `ttl` from now, which may be negative.
  std::shared_ptr<const Identity> identity(std::string_view path,
                                           Duration ttl = std::chrono::hours(1),
                                           crypto::KeyType type = crypto::KeyType::kEcP256) const {
    auto id = spiffe::SpiffeId::make(domain_, path).take();
    auto key = crypto::PrivateKey::generate(type).take();
    auto subject = x509::svid_subject({}, {}).take();
    x509::SvidOptions options{
        .id = id,
        .public_key = key->public_key(),
        .subject = subject,
        .serial = x509::random_serial(system_random()),
        .validity = {clock_.now() - std::chrono::hours(1), clock_.now() + ttl}};
    auto made = std::make_shared<Identity>();
    made->chain = {issuer_->issue_svid(options).take()};
    for (const auto& certificate : intermediates_) {
      made->chain.push_back(certificate->der());
    }
    made->key = key;
    return made;
  }

  // From now on identities come from an intermediate authority below the root.
  void add_intermediate() {
    auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
    x509::CaOptions options{domain_.id(),
                            {},
                            x509::random_serial(system_random()),
                            x509::validity(clock_.now(), std::chrono::hours(12))};
    options.subject = x509::ca_subject({}, options.serial).encode().take();
    auto certificate =
        x509::Certificate::parse(issuer_->issue_ca(options, key->public_key()).take()).take();
    issuer_ = x509::Issuer::make(certificate, key).take();
    intermediates_.insert(intermediates_.begin(), certificate);
  }

 private:
  const spiffe::TrustDomain domain_;
  const Clock& clock_;
  x509::CertificatePtr root_;
  std::vector<x509::CertificatePtr> intermediates_;
  std::shared_ptr<const x509::Issuer> issuer_;
};

}  // namespace steeple::tls
