// SPDX-License-Identifier: Apache-2.0

// The agent, live: Agent(config, deps) wires the parts and `start` brings them up in the order
// identity, first sync, sockets. Everything it touches outside itself comes through Deps, so a
// whole agent also runs in a simulation. On the loop, from construction to destruction.

#pragma once

#include <functional>
#include <memory>

#include "agent/config/agent_config.h"
#include "agent/nodeattestor/node_attestor.h"
#include "agent/peer/proc_fs.h"
#include "agent/workloadattestor/workload_attestor.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/io/directory.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/keymanager/keymanager.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "lib/tls/handshake.h"
#include "lib/x509/verify.h"

namespace steeple::agent {

class Agent {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    tls::Handshake& handshake;
    Random& random;
    ProcFs& proc_fs;
    std::shared_ptr<io::Directory> data;
    std::unique_ptr<keymanager::KeyManager> keys;
    std::unique_ptr<NodeAttestor> node_attestor;
    std::vector<std::unique_ptr<WorkloadAttestor>> workload_attestors;
    std::shared_ptr<LateSelectors> late = {};  // what attestors heed; null: none does
    bool attest_on_loop = true;  // no workload attestor does more than read small /proc files
    bool memory_keys = false;    // keys are lost with the process; for a warning
    pid_t own_pid = 0;
    Logger log;
    Metrics& metrics;
  };
  struct Hooks {
    // The sockets are open. Once.
    std::function<void()> serving;
    // The agent has ended: by `stop` (no error), or because it cannot go on. Once; destroy it
    // later, not inside.
    std::function<void(Result<void>)> ended;
  };

  Agent(AgentConfig config, Deps deps, Hooks hooks);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  void start();
  // Closes the sockets, lets running calls end, then `ended`.
  void stop();

  // For health checks: the sockets are open.
  bool started() const;
  const AgentConfig& config() const;
  // The agent's own SVID, null before it has one, and the authorities of a trust domain as far as
  // the agent knows them, else null.
  std::shared_ptr<const tls::Identity> svid() const;
  x509::AuthoritiesPtr authorities(const spiffe::TrustDomain& domain) const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
