// SPDX-License-Identifier: Apache-2.0

// The built-in plugins by name: what a configuration asks for becomes objects, or a clear error.
// The one place that lists them. At start-up.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/config/agent_config.h"
#include "agent/nodeattestor/node_attestor.h"
#include "agent/workloadattestor/account_names.h"
#include "agent/workloadattestor/workload_attestor.h"
#include "lib/base/result.h"
#include "lib/keymanager/keymanager.h"
#include "lib/kube/access.h"
#include "lib/kube/transport.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

struct Plugins {
  std::unique_ptr<keymanager::KeyManager> keys;
  std::unique_ptr<NodeAttestor> node_attestor;
  std::vector<std::unique_ptr<WorkloadAttestor>> workload_attestors;
  std::shared_ptr<LateSelectors> late = std::make_shared<LateSelectors>();
  bool attest_on_loop = true;
  bool memory_keys = false;
};

// What plugins may use of the world.
struct PluginDeps {
  AccountNames& names;
  io::Loop& loop;
  kube::Transport& kube_transport;
  kube::Environment environment;
  Logger log;
};

// Blocks: reads keys.json and the files that plugins name. What `deps` borrows must outlive the
// result.
Result<Plugins> make_plugins(const AgentConfig& config, const PluginDeps& deps);
// What can be said without side effects, for `validate`.
Result<void> check_plugins(const AgentConfig& config);

}  // namespace steeple::agent
