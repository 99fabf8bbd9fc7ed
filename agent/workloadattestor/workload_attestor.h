// SPDX-License-Identifier: Apache-2.0

// The seam of step 3: a workload attestor turns a process into selectors. One per configured
// plugin; `Attestors` (attestors.h) runs them and does what is common to all: joining the results
// and the liveness check afterwards. What an attestor knows of one process it must not say of
// another.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/peer/peer_process.h"
#include "agent/workloadattestor/selector.h"
#include "lib/base/result.h"
#include "lib/io/workers.h"

namespace steeple::agent {

using Selectors = std::vector<Selector>;
using SelectorsHandler = std::move_only_function<void(Result<Selectors>)>;

class WorkloadAttestor {
 public:
  virtual ~WorkloadAttestor() = default;
  // The plugin's name, which is the type of its selectors: "unix".
  virtual const std::string& name() const = 0;
  // Begins an attestation, on any thread, several at once. The handler runs once, on any thread,
  // perhaps before this returns. No selectors are no error: the process has nothing that this
  // attestor knows of. Must not hold a worker while it waits for somebody else.
  virtual void start(io::Workers& workers, std::shared_ptr<const WorkloadProcess> process,
                     SelectorsHandler handler) = 0;
  // Ends what waits, with an error: the agent ends. On the loop.
  virtual void stop() {}
};

// For attestors that only read files of this machine. `attest` runs on a worker, or where the
// caller is when that is cheap enough.
class BlockingAttestor : public WorkloadAttestor {
 public:
  virtual Result<Selectors> attest(const WorkloadProcess& process) = 0;
  // Must outlive what it began.
  void start(io::Workers& workers, std::shared_ptr<const WorkloadProcess> process,
             SelectorsHandler handler) final;
};

}  // namespace steeple::agent
