// SPDX-License-Identifier: Apache-2.0

// Node attestation, the server's half. An Attestation is one conversation with one agent: a state
// machine that knows no transport and no thread. The API hands in the payload and the answers, and
// sends the challenges that come out, until attributes or an error end it. Errors have the code and
// text for the agent's status, prefix included ("nodeattestor(x509pop): ...").
//
// A NodeAttestor is immutable, any thread. An Attestation is used by one thread at a time; its
// calls may block (datastore), so they run on workers.

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "server/datastore/types.h"
#include "spiffe/spiffe_id.h"

namespace steeple::server {

inline constexpr std::size_t kAttestationPayloadBytesMax = std::size_t{1} << 20;
// From admission to the agent's SVID; whoever has not ended by then is cut off.
inline constexpr auto kAttestationTimeout = std::chrono::minutes(1);
inline constexpr int kChallengesMax = 16;  // of one conversation; the API counts

struct Challenge {
  Bytes bytes;
};

struct AgentAttributes {
  spiffe::SpiffeId agent_id;
  std::vector<Selector> selectors;  // with their type, without duplicates
  bool can_reattest = false;
  // The join token that lets it in: spent in the transaction that stores the agent.
  std::string join_token = {};
};

using AttestationOutcome = std::variant<Challenge, AgentAttributes>;

class Attestation {
 public:
  virtual ~Attestation() = default;
  // Once, first.
  virtual Result<AttestationOutcome> start(ByteView payload) = 0;
  // After each Challenge. kInvalidArgument when none was sent.
  virtual Result<AttestationOutcome> challenge_response(ByteView bytes) = 0;
};

// What the transport knows of the agent.
struct AttestingPeer {
  std::string address;  // "ip:port", or empty
};

class NodeAttestor {
 public:
  virtual ~NodeAttestor() = default;
  virtual std::string_view name() const = 0;  // the type that agents ask for
  // The attestor outlives the conversation.
  virtual std::unique_ptr<Attestation> begin(AttestingPeer peer) const = 0;
};

}  // namespace steeple::server
