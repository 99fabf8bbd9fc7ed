// SPDX-License-Identifier: Apache-2.0

#include "spiffe/tls/authorizer.h"

#include <fmt/format.h>

#include <algorithm>

namespace spiffe {

using steeple::permission_denied;
using steeple::Result;

Authorizer authorize_any() {
  return [](const SpiffeId&) -> Result<void> { return {}; };
}

Authorizer authorize_id(SpiffeId allowed) {
  return [allowed = std::move(allowed)](const SpiffeId& peer) -> Result<void> {
    if (peer == allowed) {
      return {};
    }
    return permission_denied(fmt::format("unexpected ID \"{}\"", peer.text()));
  };
}

Authorizer authorize_one_of(std::vector<SpiffeId> allowed) {
  return [allowed = std::move(allowed)](const SpiffeId& peer) -> Result<void> {
    if (std::ranges::find(allowed, peer) != allowed.end()) {
      return {};
    }
    return permission_denied(fmt::format("unexpected ID \"{}\"", peer.text()));
  };
}

Authorizer authorize_member_of(TrustDomain allowed) {
  return [allowed = std::move(allowed)](const SpiffeId& peer) -> Result<void> {
    if (peer.member_of(allowed)) {
      return {};
    }
    return permission_denied(fmt::format("unexpected trust domain \"{}\" (expected \"{}\")",
                                         peer.trust_domain_name(), allowed.name()));
  };
}

}  // namespace spiffe
