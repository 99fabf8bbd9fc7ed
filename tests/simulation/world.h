// SPDX-License-Identifier: Apache-2.0

// One run: a server, nodes with agents and workloads, an operator, and what goes wrong, all from
// one seed. The world moves from action to action (a fault, its end, an operation, a check) and
// lets the scheduler run what happens in between. Actions stand between events, so that anything
// may be destroyed there, as kill -9 does.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/fake_random.h"
#include "lib/tls/fake_handshake.h"
#include "tests/simulation/node.h"
#include "tests/simulation/operator.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/server_host.h"
#include "tests/simulation/workload.h"

namespace steeple::simulation {

struct Outcome {
  std::vector<std::string> failures;
  std::uint64_t hash = 0;    // of the trace and of the scheduler's steps
  std::uint64_t events = 0;  // of the scheduler
  std::uint64_t updates = 0;
  std::uint64_t tokens = 0;
  std::uint64_t operations = 0;
  std::uint64_t faults = 0;
};

class World {
 public:
  // `folder` is empty and for this run alone.
  World(const Plan& plan, std::string folder, bool verbose);
  ~World();

  Outcome run();

 private:
  using Action = std::function<void()>;

  // --- world.cc: the run ---
  void write_certificates();
  void set_up();
  void start_workloads();
  void live();
  void converge();
  void run_until(SteadyTime when);
  bool wait(const std::function<bool()>& holds, Duration at_most);
  void supervise();
  void revive(Node& node);
  void check();
  void check_nodes();
  void check_published();
  void later(Duration after, Action action);
  SteadyTime now() const { return clock_.steady(); }
  Duration about(Duration mean) { return random_.jitter(mean, 0.9); }
  Duration between(Duration least, Duration most);
  bool all_quiet() const;
  Workload* some_workload(Random& random, std::size_t not_of);

  // --- faults.cc ---
  void fault();
  void node_fault(Node& node, Duration length);
  void all_fault(Duration length);
  void for_nodes(bool all, std::size_t node, bool begin);
  void kill_agent(Node& node, Duration down);
  void agent_up(Node& node);
  void kill_server(Duration down);
  void server_up();
  void jump();
  void restart_workload();

  // --- operations.cc ---
  void operation();
  EntryVersion new_version(const std::string& id);
  void change_entries();
  void replace_federated();
  void expel();
  void after_unknown();
  void offer_spent_token();

  const Plan plan_;
  const std::string folder_;
  FakeClock clock_;
  Trace trace_;
  Oracle oracle_;
  Verifier verifier_;
  SeededRandom random_;          // of what happens
  SeededRandom product_random_;  // handed to server and agents
  io::SimScheduler scheduler_;
  io::SimSwitch wires_;
  std::unique_ptr<tls::Handshake> handshake_;
  std::unique_ptr<ServerHost> server_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<Workload>> workloads_;
  std::unique_ptr<Operator> operator_;
  std::multimap<SteadyTime, Action> actions_;
  std::vector<std::string> spent_tokens_;

  // What a node had when its agent was killed.
  struct Before {
    std::string id;
    int attestations = 0;
    bool check = false;
  };
  std::map<std::size_t, Before> before_;
  std::set<std::size_t> expelled_;   // told to go, not yet back
  std::set<std::size_t> held_down_;  // killed, to be started later
  bool server_disk_fails_ = false;
  bool unknown_ = false;  // an operation's outcome
  std::uint64_t faults_ = 0;
  std::uint64_t operations_ = 0;
  int next_entry_ = 0;
  int next_version_ = 0;
  pid_t next_pid_ = 100;
};

}  // namespace steeple::simulation
