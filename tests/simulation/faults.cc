// SPDX-License-Identifier: Apache-2.0

// World: what goes wrong. Long outages begin only when every node had time to settle, so that all
// credentials have more than the longest outage left; short ones come at any time.

#include <fmt/format.h>

#include "tests/simulation/world.h"

namespace steeple::simulation {
namespace {

using namespace std::chrono_literals;

constexpr auto kShort = 3min;
constexpr auto kSlowMax = 4s;
constexpr auto kServerRetry = 10s;
constexpr Duration kSkewMax = 3s;  // certificates are dated back by 10 s
constexpr Duration kBackwardMax = 2min;
constexpr Duration kWorkersLeast = 10us;
constexpr Duration kWorkersMost = 2ms;

}  // namespace

void World::for_nodes(bool all, std::size_t node, bool begin) {
  for (auto& one : nodes_) {
    if (all || one->number() == node) {
      if (begin) {
        oracle_.begin_fault(one->number(), now());
      } else {
        oracle_.end_fault(one->number(), now());
      }
    }
  }
}

void World::fault() {
  ++faults_;
  bool calm = all_quiet();
  Duration length =
      calm && random_.below(2) == 0 ? between(kShort, plan_.outage_max) : between(1s, kShort);
  Node& node = *nodes_[random_.below(nodes_.size())];
  switch (random_.below(10)) {
    case 0:
    case 1:
    case 2:
    case 3:
      node_fault(node, length);
      break;
    case 4:
    case 5:
    case 6:
      all_fault(length);
      break;
    case 7:
      if (calm) {
        jump();
      }
      break;
    case 8:
      // Small, and nobody may notice.
      if (random_.below(2) == 0) {
        node.clock().set_offset(random_.jitter(Duration(kSkewMax), 1.0) - kSkewMax);
      } else {
        server_->clock().set_offset(random_.jitter(Duration(kSkewMax), 1.0) - kSkewMax);
      }
      trace_.event("a clock drifts");
      break;
    default:
      restart_workload();
  }
}

void World::node_fault(Node& node, Duration length) {
  std::size_t number = node.number();
  if (expelled_.contains(number) || held_down_.contains(number)) {
    return;
  }
  auto end = [this, number](Action heal) {
    return [this, number, heal = std::move(heal)] {
      heal();
      for_nodes(false, number, false);
    };
  };
  switch (random_.below(5)) {
    case 0:
      trace_.event("node{} is cut off for {}", number, format_go_duration(length));
      for_nodes(false, number, true);
      wires_.cut(ServerHost::kHost, node.host());
      later(length, end([this, &node] {
              trace_.event("node{} is back", node.number());
              wires_.heal(ServerHost::kHost, node.host());
            }));
      break;
    case 1:
      kill_agent(node, length);
      break;
    case 2:
      trace_.event("connections of node{} break", number);
      for_nodes(false, number, true);
      wires_.reset_connections(ServerHost::kHost, node.host());
      if (random_.below(2) == 0) {
        wires_.reset_connections(node.host(), node.host());
      }
      for_nodes(false, number, false);
      break;
    case 3:
      trace_.event("node{} is slow for {}", number, format_go_duration(length));
      for_nodes(false, number, true);
      node.slow_down(1ms, between(100ms, kSlowMax));
      later(length, end([&node] { node.slow_down(kWorkersLeast, kWorkersMost); }));
      break;
    default:
      trace_.event("node{}'s disk is full for {}", number, format_go_duration(length));
      for_nodes(false, number, true);
      node.fail_disk(true);
      later(length, end([&node] { node.fail_disk(false); }));
  }
}

void World::all_fault(Duration length) {
  auto end = [this](Action heal) {
    return [this, heal = std::move(heal)] {
      heal();
      for_nodes(true, 0, false);
    };
  };
  switch (random_.below(5)) {
    case 0:
      kill_server(length);
      break;
    case 1: {
      kill_server(length);
      Node& node = *nodes_[random_.below(nodes_.size())];
      if (!expelled_.contains(node.number()) && !held_down_.contains(node.number())) {
        kill_agent(node, length + between(0s, 1min));
      }
      break;
    }
    case 2:
      trace_.event("the server is cut off for {}", format_go_duration(length));
      for_nodes(true, 0, true);
      for (auto& node : nodes_) {
        wires_.cut(ServerHost::kHost, node->host());
      }
      later(length, end([this] {
              trace_.event("the server is back");
              for (auto& node : nodes_) {
                wires_.heal(ServerHost::kHost, node->host());
              }
            }));
      break;
    case 3:
      trace_.event("the server is slow for {}", format_go_duration(length));
      for_nodes(true, 0, true);
      server_->slow_down(1ms, between(100ms, kSlowMax));
      later(length, end([this] { server_->slow_down(kWorkersLeast, kWorkersMost); }));
      break;
    default:
      if (server_disk_fails_) {
        return;
      }
      trace_.event("the server's disk is full for {}", format_go_duration(length));
      server_disk_fails_ = true;
      for_nodes(true, 0, true);
      server_->fail_disk(true);
      later(length, end([this] {
              server_disk_fails_ = false;
              server_->fail_disk(false);
            }));
  }
}

// --- processes -----------------------------------------------------------------------------------

void World::kill_agent(Node& node, Duration down) {
  trace_.event("agent{} is killed for {}", node.number(), format_go_duration(down));
  oracle_.begin_fault(node.number(), now());
  held_down_.insert(node.number());
  if (node.serving()) {
    before_[node.number()] = {node.stored_id(), node.attestations(), node.stored_svid() != nullptr};
  }
  node.kill();
  later(down, [this, &node] { agent_up(node); });
}

void World::agent_up(Node& node) {
  held_down_.erase(node.number());
  if (!node.running()) {
    oracle_.agent_started(node.number(), now());
    node.start();
  }
  oracle_.end_fault(node.number(), now());
}

void World::kill_server(Duration down) {
  if (!server_->running()) {
    return;
  }
  trace_.event("the server is killed for {}", format_go_duration(down));
  for_nodes(true, 0, true);
  server_->kill();
  later(down, [this] { server_up(); });
}

void World::server_up() {
  if (server_->running()) {
    return;
  }
  if (!server_->start()) {
    if (!server_disk_fails_) {
      trace_.fail("the server does not start again");
    }
    later(kServerRetry, [this] { server_up(); });
    return;
  }
  for_nodes(true, 0, false);
  after_unknown();
}

void World::restart_workload() {
  Workload& workload = *workloads_[random_.below(workloads_.size())];
  trace_.event("{} starts anew", workload.options().name);
  workload.exit();
  workload.start(next_pid_++);
}

// --- time ----------------------------------------------------------------------------------------

void World::jump() {
  bool forward = random_.below(3) != 0;
  Duration by = forward ? between(1s, plan_.outage_max) : -between(1s, kBackwardMax);
  trace_.event("all clocks jump by {}", format_go_duration(by));
  for_nodes(true, 0, true);
  clock_.jump_wall(by);
  // What was dated before a jump back is not valid until that time comes again.
  later(forward ? Duration(1s) : -by, [this] { for_nodes(true, 0, false); });
}

}  // namespace steeple::simulation
