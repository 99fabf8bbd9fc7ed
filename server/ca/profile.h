// SPDX-License-Identifier: Apache-2.0

// What certificates and tokens of this server look like: lifetimes, subjects, issuer, and the last
// check on what leaves. The bytes are made by lib/x509 and lib/jose; here are the numbers and the
// rules. Plain data and pure functions, any thread.

#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/x509/certificate.h"
#include "lib/x509/name.h"
#include "spiffe/spiffe_id.h"
#include "spiffe/trust_domain.h"

namespace steeple::server {

struct CredentialOptions {
  spiffe::TrustDomain trust_domain;
  x509::Name ca_subject = {};                      // empty: C=US, O=SPIFFE
  Duration ca_ttl = std::chrono::hours(24);        // of X.509 CAs and JWT keys
  Duration x509_svid_ttl = std::chrono::hours(1);  // where an entry says 0
  Duration jwt_svid_ttl = std::chrono::minutes(5);
  Duration agent_ttl{0};        // 0: x509_svid_ttl
  std::string jwt_issuer = {};  // empty: tokens have no `iss`

  Duration agent_svid_ttl() const { return agent_ttl > Duration(0) ? agent_ttl : x509_svid_ttl; }
};

// "spiffe://<td>/spire/server"
spiffe::SpiffeId server_id(const spiffe::TrustDomain& domain);
// "spiffe://<td>/spire/agent" + suffix; the suffix begins with '/'.
Result<spiffe::SpiffeId> agent_id(const spiffe::TrustDomain& domain, std::string_view suffix);
// A member of the trust domain, with a path. Texts are SPIRE's, without a prefix.
Result<void> check_member(const spiffe::TrustDomain& domain, const spiffe::SpiffeId& id);

// What a CA must be before we use or hand it out (X509-SVID 4.1 to 4.3): basic constraints with CA,
// keyCertSign and nothing but cRLSign and digitalSignature beside it, no URI SAN but the trust
// domain's, valid now. Errors begin "invalid X509 CA: ".
Result<void> validate_ca(const x509::Certificate& ca, const spiffe::TrustDomain& domain,
                         WallTime now);

// The longest SVID lifetime that no scheduled rotation of a CA of that lifetime cuts short. Longer
// configured lifetimes deserve a warning.
Duration max_svid_ttl_for_ca_ttl(Duration ca_ttl);
// The other way round: the CA lifetime that such SVIDs need.
Duration min_ca_ttl_for_svid_ttl(Duration svid_ttl);

}  // namespace steeple::server
