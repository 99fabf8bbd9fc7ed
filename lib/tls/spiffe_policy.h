// SPDX-License-Identifier: Apache-2.0

// The SPIFFE rules of who may be at the other end, as VerifyPeer policies: chain verification of
// lib/x509 against the newest bundles, then the identity. The bundles are looked up at each
// handshake, so a rotated or new bundle takes effect at once. Policies are const: any loop.

#pragma once

#include <map>
#include <memory>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/watch.h"
#include "lib/tls/handshake.h"
#include "lib/x509/verify.h"
#include "spiffe/spiffe_id.h"
#include "spiffe/trust_domain.h"

namespace steeple::tls {

using BundleSet = std::map<spiffe::TrustDomain, x509::AuthoritiesPtr>;

// Looks into the newest set. Before the first publish there is no bundle for anybody.
x509::AuthoritiesOf authorities_from(std::shared_ptr<const Watch<BundleSet>> bundles);

// SPIRE server, TCP: an SVID of the own trust domain, or exactly one of the admin ids, each against
// the bundle of its own trust domain. To be used with require_client = false: agents attest
// without a certificate. `clock` must outlive the policy, here and below.
VerifyPeer verify_member_or_admin(spiffe::TrustDomain own, std::vector<spiffe::SpiffeId> admin_ids,
                                  x509::AuthoritiesOf authorities, const Clock& clock);

// One of these ids, each against the bundle of its own trust domain.
VerifyPeer verify_one_of(std::vector<spiffe::SpiffeId> ids, x509::AuthoritiesOf authorities,
                         const Clock& clock);

// Exactly this id, e.g. an https_spiffe bundle endpoint.
VerifyPeer verify_id(spiffe::SpiffeId expected, x509::AuthoritiesOf authorities,
                     const Clock& clock);

// An agent's view of its server: exactly spiffe://<td>/spire/server.
VerifyPeer verify_spire_server(const spiffe::TrustDomain& own, x509::AuthoritiesOf authorities,
                               const Clock& clock);

// `insecure_bootstrap`: only the URI SAN is compared, no chain, no signature, no validity. Not a
// security feature, but a check that this is the right trust domain's server.
VerifyPeer insecure_bootstrap(const spiffe::TrustDomain& own);

spiffe::SpiffeId spire_server_id(const spiffe::TrustDomain& own);

}  // namespace steeple::tls
