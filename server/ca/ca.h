// SPDX-License-Identifier: Apache-2.0

// Step 9 of the flow: signs SVIDs with the active authorities. Every call works on one snapshot of
// the authority, taken at its start, so rotation never waits for signing nor signing for rotation.
// All calls are thread safe and may block only where the key lives outside this process; batches
// are spread over workers by the caller.
//
// The caller has authorised the request and checked the proof of possession of the key.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/base/watch.h"
#include "lib/crypto/public_key.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/x509/verify.h"
#include "server/ca/authority.h"
#include "server/ca/profile.h"

namespace steeple::server {

struct SignedX509 {
  std::vector<Bytes> chain;  // DER, leaf first, without the root
  x509::CertificatePtr leaf;
};

struct SignedJwt {
  std::string token;
  WallTime issued_at;   // whole seconds, as in the token
  WallTime expires_at;  // whole seconds, as in the token
};

struct WorkloadX509Params {
  const crypto::PublicKey& public_key;
  const spiffe::SpiffeId& id;
  Duration ttl{0};                              // 0: the default; always cut to the CA's end
  std::span<const std::string> dns_names = {};  // the first also becomes the common name
  const x509::Name* subject = nullptr;          // null or empty: C=US, O=SPIRE
};

struct WorkloadJwtParams {
  const spiffe::SpiffeId& id;
  const std::vector<std::string>& audience;  // empty strings are dropped; none left is an error
  Duration ttl{0};                           // 0: the default; always cut to the key's end
  bool include_jti = false;
};

class Ca {
 public:
  struct Deps {
    Clock& clock;
    Random& random;
    Metrics& metrics;
  };

  Ca(CredentialOptions options, Deps deps);
  Ca(const Ca&) = delete;
  Ca& operator=(const Ca&) = delete;

  const CredentialOptions& options() const { return options_; }

  // kUnavailable "X509 CA is not available for signing" before there is an active authority;
  // kInvalidArgument for an id that is not a member of the trust domain.
  Result<SignedX509> sign_workload_x509_svid(const WorkloadX509Params& params) const;
  Result<SignedX509> sign_agent_x509_svid(const crypto::PublicKey& public_key,
                                          const spiffe::SpiffeId& id) const;
  Result<SignedX509> sign_server_x509_svid(const crypto::PublicKey& public_key) const;
  // A CA for a downstream server; `ttl` 0: ca_ttl.
  Result<SignedX509> sign_downstream_x509_ca(const crypto::PublicKey& public_key,
                                             Duration ttl) const;
  Result<SignedJwt> sign_workload_jwt_svid(const WorkloadJwtParams& params) const;

  // Signs a throw-away SVID, as the reference's health check does. Blocks like signing.
  Result<void> check_health() const;

  // --- for AuthorityKeeper ----------------------------------------------------------------------
  void activate(std::shared_ptr<const X509SigningAuthority> authority);
  void activate(std::shared_ptr<const JwtSigningAuthority> authority);
  std::shared_ptr<const X509SigningAuthority> x509_authority() const { return x509_.get(); }
  std::shared_ptr<const JwtSigningAuthority> jwt_authority() const { return jwt_.get(); }

  // Roots that must not be trusted any more. The Watch holds all that were named since the start
  // (the newest kTaintedMax), so that a slow reader misses none.
  static constexpr std::size_t kTaintedMax = 64;
  void publish_tainted(const x509::Authorities& roots);
  const Watch<x509::Authorities>& tainted() const { return tainted_; }

 private:
  struct SvidRequest {
    std::string_view what;  // "workload": for the error
    const spiffe::SpiffeId& id;
    const crypto::PublicKey& public_key;
    const Bytes& subject;
    std::span<const std::string> dns_names;
    Duration ttl;
  };
  Result<SignedX509> issue_svid(const SvidRequest& request) const;

  CredentialOptions options_;
  Deps deps_;
  Bytes default_subject_;  // encoded
  spiffe::SpiffeId server_id_;
  Watch<X509SigningAuthority> x509_;
  Watch<JwtSigningAuthority> jwt_;
  Watch<x509::Authorities> tainted_;
};

}  // namespace steeple::server
