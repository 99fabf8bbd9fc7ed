// SPDX-License-Identifier: Apache-2.0

// The agent's own identity and its line to the server. Start: the stored SVID and key are taken up
// again while they last, else the node is attested, with retries (5 s and growing, for one minute).
// Then: renewal at half-life into the other key slot (RenewAgent, or attestation anew when the
// attestor allows it), what the server's refusals ask for (banned: forget the SVID and stop;
// evicted: attest again or stop), and the channel that sync uses, reconnected whenever the identity
// changes. A failed renewal never takes the present SVID away.
//
// On the loop; disk, keys and proofs run on workers. The trust bundle is set by sync and stored.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "agent/config/agent_config.h"
#include "agent/nodeattestor/agent_data.h"
#include "agent/nodeattestor/node_attestor.h"
#include "lib/base/random.h"
#include "lib/base/watch.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/keymanager/keymanager.h"
#include "lib/rpc/client.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/tls/handshake.h"
#include "lib/x509/certificate.h"
#include "lib/x509/verify.h"
#include "spiffe/spiffe_id.h"

namespace steeple::agent {

// What the server's PermissionDeniedDetails ask of the agent.
enum class Denial : std::uint8_t {
  kNone,      // not a denial of the agent as such
  kReattest,  // expired, not attested (evicted), not active, must re-attest
  kShutdown,  // banned
};
Denial denial_of(const Error& error);
// The denial is of this SVID only: the server counts with another one of the agent.
bool denies_this_svid(const Error& error);

struct AgentSvid {
  spiffe::SpiffeId id;
  std::vector<x509::CertificatePtr> chain;  // leaf first
  std::shared_ptr<const tls::Identity> identity;
  std::string key_id;  // "agent-svid-A" or "agent-svid-B"
  bool reattestable = false;
};
using AgentSvidPtr = std::shared_ptr<const AgentSvid>;

class NodeIdentity {
 public:
  struct Options {
    spiffe::TrustDomain trust_domain;
    io::Endpoint server;
    BootstrapTrust bootstrap;
    RotationPolicy rotation;
    std::string user_agent;
    bool memory_keys = false;  // for a warning
    Duration keepalive_interval = std::chrono::seconds(30);
  };
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    tls::Handshake& handshake;
    Random& random;
    std::shared_ptr<keymanager::KeyManager> keys;
    std::shared_ptr<AgentStore> store;
    std::shared_ptr<NodeAttestor> attestor;
    Logger log;
    Metrics& metrics;
    // The agent cannot go on (banned, evicted without a way back, SVID expired). Once.
    std::function<void(Error)> stopped;
  };

  NodeIdentity(Options options, Deps deps);
  ~NodeIdentity();
  NodeIdentity(const NodeIdentity&) = delete;
  NodeIdentity& operator=(const NodeIdentity&) = delete;

  // Loads or attests; `ready` runs once: with an error when attestation failed for good.
  void start(std::move_only_function<void(Result<void>)> ready);

  // After `ready`; never null then.
  AgentSvidPtr svid() const;
  // mTLS with the present SVID; valid after `ready` and for as long as this object.
  rpc::Channel& channel();

  // The trust domain's authorities, also for the channel's handshakes; stored when they changed.
  void set_bundle(const std::vector<Bytes>& authorities);
  x509::AuthoritiesPtr authorities() const;
  // The authorities with these subject key ids are tainted: an SVID below them is renewed at once.
  void taint(const std::vector<Bytes>& subject_key_ids);

  // The error of a call that was made as `asked`. The server forgets an SVID when its successor is
  // first presented, so a denial that reaches a call of before says nothing about us: kUnavailable.
  Error of_call(const AgentSvidPtr& asked, Error error) const;
  // An error that a call on `channel` got (through `of_call`): acts when it is a denial. True when
  // it did; the caller then waits for the next identity (`changed`).
  bool handle_denial(const Error& error);
  // Told of each new SVID after start.
  Watch<AgentSvid>::Subscription changed(Watch<AgentSvid>::Callback callback) const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
