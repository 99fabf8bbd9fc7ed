// SPDX-License-Identifier: Apache-2.0

// Brings the roots of an upstream authority into the trust domain's bundle: new ones are added,
// tainted ones reported (the caller rotates before it marks them, so that nobody moves to a CA that
// is still signed by them), and tainted ones that the upstream has dropped are revoked. Used by one
// thread at a time; calls block.

#pragma once

#include <set>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/jose/bundle.h"
#include "lib/telemetry/log.h"
#include "lib/x509/verify.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

class UpstreamRoots {
 public:
  UpstreamRoots(Datastore& datastore, spiffe::TrustDomain trust_domain, Logger log);

  Result<void> sync(const std::vector<jose::X509Authority>& roots);

  // Roots found tainted by `sync` and not handled yet.
  const x509::Authorities& tainted() const { return tainted_; }
  void tainted_handled() { tainted_.clear(); }

 private:
  Datastore& datastore_;
  spiffe::TrustDomain trust_domain_;
  Logger log_;
  std::set<std::string> reported_;  // subject key ids
  x509::Authorities tainted_;
};

// Hexadecimal, lower case, as SPIRE writes authority ids.
std::string subject_key_id_text(const x509::Certificate& certificate);

}  // namespace steeple::server
