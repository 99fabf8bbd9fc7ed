// SPDX-License-Identifier: Apache-2.0

// What a seed decides before anything runs: sizes, lifetimes, speeds and how often what goes wrong.

#pragma once

#include <cstdint>
#include <vector>

#include "lib/base/clock.h"

namespace steeple::simulation {

struct NodePlan {
  bool x509pop = false;  // else a join token
  std::size_t workloads = 0;
};

struct Plan {
  std::uint64_t seed = 0;
  Duration length{};
  bool upstream = false;  // a disk authority signs the CA
  std::vector<NodePlan> nodes;
  std::size_t entries = 0;  // at the start

  Duration ca_ttl{}, x509_ttl{}, agent_ttl{}, jwt_ttl{};
  Duration connection_age{}, keepalive{}, authority_tick{}, svid_tick{}, safety_sync{};
  Duration latency_max{};
  Duration token_every{};  // each workload asks for a JWT-SVID about this often

  Duration fault_every{}, operation_every{};
  // No outage is longer, so that credentials in their second half survive it.
  Duration outage_max{};

  std::string text() const;
};

Plan make_plan(std::uint64_t seed, Duration length);

}  // namespace steeple::simulation
