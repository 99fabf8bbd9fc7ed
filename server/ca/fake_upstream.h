// SPDX-License-Identifier: Apache-2.0

// An upstream authority in memory for tests: a real root that signs, may be replaced or tainted,
// and may fail. Used by one thread.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/fake_random.h"
#include "lib/x509/csr.h"
#include "lib/x509/fake_authority.h"
#include "server/ca/upstream_authority.h"

namespace steeple::server {

class FakeUpstream final : public UpstreamAuthority {
 public:
  FakeUpstream(std::string_view domain, WallTime now)
      : domain_(domain), root_(std::make_unique<x509::FakeAuthority>(domain, now, kRootTtl)) {
    roots_.push_back({.der = root_->certificate()->der()});
  }

  std::string_view name() const override { return "fake"; }

  Result<MintedX509Ca> mint_x509_ca(ByteView csr, Duration preferred_ttl) override {
    if (fail_with) {
      return *fail_with;
    }
    auto request = TRY(x509::CertificateRequest::parse_and_verify(csr));
    Bytes der = TRY(root_->issuer()->issue_ca(
        {.id = root_->domain().id(),
         .subject = Bytes(request.subject()),
         .serial = x509::random_serial(random_),
         .validity = x509::capped_validity(now, preferred_ttl, root_->certificate()->not_after())},
        request.public_key()));
    return MintedX509Ca{.chain = {std::move(der)}, .roots = wrong_roots.value_or(roots_)};
  }

  Result<std::vector<jose::JwtAuthority>> publish_jwt_key(const jose::JwtAuthority& key) override {
    if (!shares_jwt_keys) {
      return unimplemented("not here");
    }
    jwt_keys.push_back(key);
    return jwt_keys;
  }

  const Watch<UpstreamBundle>* updates() const override { return &updates_; }

  const x509::CertificatePtr& root() const { return root_->certificate(); }

  // The old root is tainted and a new one signs from now on.
  void replace_root() {
    roots_.front().tainted = true;
    root_ = std::make_unique<x509::FakeAuthority>(domain_, now, kRootTtl);
    roots_.push_back({.der = root_->certificate()->der()});
    publish();
  }
  void forget_tainted() {
    std::erase_if(roots_, [](const auto& root) { return root.tainted; });
    publish();
  }

  WallTime now{};  // tests keep it in step with their clock
  std::optional<Error> fail_with = {};
  std::optional<std::vector<jose::X509Authority>> wrong_roots = {};
  bool shares_jwt_keys = false;
  std::vector<jose::JwtAuthority> jwt_keys = {};

 private:
  static constexpr auto kRootTtl = std::chrono::hours(24 * 365);

  void publish() { updates_.publish(UpstreamBundle{.roots = roots_, .jwt_authorities = {}}); }

  std::string domain_;
  SeededRandom random_{77};
  std::unique_ptr<x509::FakeAuthority> root_;
  std::vector<jose::X509Authority> roots_;
  Watch<UpstreamBundle> updates_;
};

}  // namespace steeple::server
