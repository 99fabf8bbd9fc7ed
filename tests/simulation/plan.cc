// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/fake_random.h"

namespace steeple::simulation {
namespace {

using namespace std::chrono_literals;

template <class T>
T pick(Random& random, std::initializer_list<T> choices) {
  return choices.begin()[random.below(choices.size())];
}

// An outage begins when at least this share of a credential's life is left: it is replaced between
// 0.4 and 0.6 of its life.
constexpr double kOutageShare = 0.3;

}  // namespace

Plan make_plan(std::uint64_t seed, Duration length) {
  SeededRandom random(seed * 7919 + 1);
  Plan plan;
  plan.seed = seed;
  plan.length = length;
  plan.upstream = random.below(4) == 0;
  std::size_t nodes = 2 + random.below(3);
  std::size_t workloads = std::max<std::size_t>(6 + random.below(5), nodes);
  for (std::size_t i = 0; i < nodes; ++i) {
    plan.nodes.push_back({.x509pop = random.below(3) == 0, .workloads = workloads / nodes});
  }
  plan.entries = workloads + random.below(4);
  plan.ca_ttl = pick<Duration>(random, {72h, 120h, 192h});
  plan.x509_ttl = plan.ca_ttl / static_cast<int>(4 + random.below(3));
  plan.agent_ttl = plan.ca_ttl / static_cast<int>(3 + random.below(4));
  plan.jwt_ttl = pick<Duration>(random, {5min, 30min, 2h});
  plan.connection_age = pick<Duration>(random, {6h, 12h, 24h});
  plan.keepalive = pick<Duration>(random, {30min, 2h});
  plan.authority_tick = pick<Duration>(random, {5min, 10min});
  plan.svid_tick = pick<Duration>(random, {5min, 10min});
  plan.safety_sync = pick<Duration>(random, {8h, 16h});
  plan.latency_max = pick<Duration>(random, {1ms, 2ms, 20ms, 150ms});
  plan.token_every = pick<Duration>(random, {16h, 48h});
  plan.fault_every = pick<Duration>(random, {4h, 8h, 16h});
  plan.operation_every = pick<Duration>(random, {3h, 6h, 12h});
  plan.outage_max = Duration(static_cast<std::int64_t>(
      static_cast<double>(std::min(plan.x509_ttl, plan.agent_ttl).count()) * kOutageShare));
  return plan;
}

std::string Plan::text() const {
  std::string out = fmt::format("seed {}: {} nodes (", seed, nodes.size());
  for (const NodePlan& node : nodes) {
    out += fmt::format("{}{} ", node.x509pop ? "x509pop:" : "token:", node.workloads);
  }
  out += fmt::format(
      "), {} entries, upstream {}, CA {}, X.509 {}, agent {}, JWT {}, connection age {}, safety "
      "sync {}, latency {}, fault every {}, operation every {}, outages up to {}",
      entries, upstream, format_go_duration(ca_ttl), format_go_duration(x509_ttl),
      format_go_duration(agent_ttl), format_go_duration(jwt_ttl),
      format_go_duration(connection_age), format_go_duration(safety_sync),
      format_go_duration(latency_max), format_go_duration(fault_every),
      format_go_duration(operation_every), format_go_duration(outage_max));
  return out;
}

}  // namespace steeple::simulation
