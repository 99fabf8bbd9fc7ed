// SPDX-License-Identifier: Apache-2.0

// Join tokens: the payload is the token. It is looked up here and spent in the transaction that
// stores the agent (AgentAttributes::join_token), so of any number of attempts with one token
// exactly one goes through, on any number of servers, and an attempt that fails for another reason
// costs no token. The attempt spends an expired token. The agent cannot attest again.

#pragma once

#include <memory>

#include "lib/base/clock.h"
#include "server/datastore/datastore.h"
#include "server/nodeattestor/node_attestor.h"
#include "spiffe/trust_domain.h"

namespace steeple::server {

inline constexpr std::string_view kJoinTokenType = "join_token";
inline constexpr std::size_t kJoinTokenBytesMax = 255;
inline constexpr std::string_view kJoinTokenGone =
    "failed to attest: join token does not exist or has already been used";

// spiffe://<td>/spire/agent/join_token/<token>
Result<spiffe::SpiffeId> join_token_agent_id(const spiffe::TrustDomain& trust_domain,
                                             std::string_view token);

// Both must outlive the attestor.
std::unique_ptr<NodeAttestor> join_token_attestor(spiffe::TrustDomain trust_domain,
                                                  Datastore& datastore, Clock& clock);

}  // namespace steeple::server
