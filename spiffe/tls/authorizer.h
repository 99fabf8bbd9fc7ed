// SPDX-License-Identifier: Apache-2.0

// Who may be at the other end of a connection, once its SVID has been verified. Pure values.

#pragma once

#include <functional>
#include <vector>

#include "lib/base/result.h"
#include "spiffe/spiffe_id.h"

namespace spiffe {

// An error refuses the peer; its text goes to the log of this side only.
using Authorizer = std::function<steeple::Result<void>(const SpiffeId& peer)>;

// Whoever has an identity of a trust domain that we have a bundle of.
Authorizer authorize_any();
Authorizer authorize_id(SpiffeId allowed);
Authorizer authorize_one_of(std::vector<SpiffeId> allowed);
Authorizer authorize_member_of(TrustDomain allowed);

}  // namespace spiffe
