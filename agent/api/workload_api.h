// SPDX-License-Identifier: Apache-2.0

// Steps 1 and 2 of the flow: the SPIFFE Workload API (surface 11) on the public socket. Each call
// is checked (header), attested (agent/workloadattestor), limited, and answered from the cache.
// Streams are objects on the loop that the cache feeds; before every push the caller's process is
// checked again. Attestation runs on the loop when it only reads small /proc files, else on a
// worker.

#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/api/rate_limit.h"
#include "agent/cache/x509_cache.h"
#include "agent/config/agent_config.h"
#include "agent/peer/proc_fs.h"
#include "agent/sync/jwt_fetch.h"
#include "agent/workloadattestor/attestors.h"
#include "lib/io/loop.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace steeple::agent {

// A workload that has not taken this many bytes of pushed updates is cut off.
inline constexpr std::size_t kStreamBacklogMax = std::size_t{1} << 20;

class WorkloadApi {
 public:
  struct Options {
    spiffe::TrustDomain trust_domain;
    bool allow_unauthenticated_verifiers = false;
    std::set<std::string, std::less<>> allowed_foreign_jwt_claims = {};
    std::vector<std::string> log_selectors = {};
    RateLimits rate_limits = {};
    bool attest_on_loop = true;
    pid_t own_pid = 0;  // the agent's own calls are neither limited nor logged
  };
  struct Deps {
    io::Loop& loop;
    ProcFs& proc_fs;
    Attestors& attestors;
    X509Cache& cache;
    JwtFetch& tokens;
    Logger log;
    Metrics& metrics;
  };

  WorkloadApi(Options options, Deps deps);
  ~WorkloadApi();
  WorkloadApi(const WorkloadApi&) = delete;
  WorkloadApi& operator=(const WorkloadApi&) = delete;

  // Before the first connection. The server must be gone before this is destroyed.
  void add_to(rpc::Server& server);
  // Workloads with open streams may have more selectors than when they came; see LateSelectors.
  void attest_streams_again();
  // For ServerHooks: the header rule, which holds for SpiffeWorkloadAPI only.
  static Result<void> authorize(const rpc::CallContext& call);

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
