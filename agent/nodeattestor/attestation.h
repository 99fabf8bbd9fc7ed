// SPDX-License-Identifier: Apache-2.0

// One attestation: AttestAgent from the first payload over any challenges to the SVID, then the
// trust bundle over the same connection. The connection presents no certificate. On the loop;
// proofs and signatures run on workers.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "agent/nodeattestor/node_attestor.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/rpc/client.h"
#include "lib/telemetry/log.h"
#include "lib/tls/handshake.h"

namespace steeple::agent {

// The whole conversation, challenges included.
inline constexpr auto kAttestationTimeout = std::chrono::minutes(1);
inline constexpr int kChallengesMax = 16;

struct Attested {
  std::vector<Bytes> svid;  // DER, leaf first
  bool reattestable = false;
  std::vector<Bytes> bundle;  // DER, the trust domain's authorities
};

class Attestation {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    tls::Handshake& handshake;
    Random& random;
    std::shared_ptr<NodeAttestor> attestor;
    Logger log;
  };
  using Done = std::move_only_function<void(Result<Attested>)>;

  // Starts at once; `done` runs once, unless this is destroyed before, which cancels.
  Attestation(Deps deps, const io::Endpoint& server,
              std::shared_ptr<const tls::ClientPolicy> policy, std::string user_agent, Bytes csr,
              Done done);
  ~Attestation();
  Attestation(const Attestation&) = delete;
  Attestation& operator=(const Attestation&) = delete;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

// "<doing>: rpc error: code = X desc = Y", code and details kept: how the reference logs a call's
// error.
Error call_error(const Error& error, std::string_view doing);

}  // namespace steeple::agent
