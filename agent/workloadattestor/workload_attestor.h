// SPDX-License-Identifier: Apache-2.0

// The seam of step 3: a workload attestor turns a process into selectors. One per configured
// plugin; `Attestors` (attestors.h) runs them and does what is common to all: joining the results
// and the liveness check afterwards. An attestor must not cache across processes.

#pragma once

#include <string>
#include <vector>

#include "agent/peer/peer_process.h"
#include "agent/workloadattestor/selector.h"
#include "lib/base/result.h"

namespace steeple::agent {

class WorkloadAttestor {
 public:
  virtual ~WorkloadAttestor() = default;
  // The plugin's name, which is the type of its selectors: "unix".
  virtual const std::string& name() const = 0;
  // On a worker; may block; several at once. An empty list is no error: the process has nothing
  // that this attestor knows of.
  virtual Result<std::vector<Selector>> attest(const WorkloadProcess& process) = 0;
};

}  // namespace steeple::agent
