// SPDX-License-Identifier: Apache-2.0

// A machine with an agent: what outlives the agent's process (disk, clock, /proc, the token it was
// given) and the process itself, which can be killed at any moment between two events. An agent
// that ends by itself is started again by `revive`, as a service manager would.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/agent.h"
#include "agent/peer/fake_proc_fs.h"
#include "agent/workloadattestor/account_names.h"
#include "lib/hcl/value.h"
#include "lib/io/fake_directory.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/x509/certificate.h"
#include "tests/simulation/host_clock.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/trace.h"

namespace steeple::simulation {

class NoNames final : public agent::AccountNames {
 public:
  std::optional<std::string> user(uid_t) override { return std::nullopt; }
  std::optional<std::string> group(gid_t) override { return std::nullopt; }
};

class Node {
 public:
  struct Deps {
    io::SimScheduler& scheduler;
    io::SimSwitch& wires;
    tls::Handshake& handshake;
    Random& random;
    FakeClock& clock;
    Trace& trace;
  };

  Node(std::size_t number, const Plan& plan, Deps deps);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void use_token(std::string token) {
    token_ = std::move(token);
    has_served_ = false;
  }
  void use_x509pop(hcl::Value plugin_data) { x509pop_ = std::move(plugin_data); }
  const std::string& token() const { return token_; }

  void start();
  void kill();
  bool running() const { return process_ != nullptr; }
  bool serving() const { return process_ != nullptr && process_->serving; }
  // Why it ended by itself; nothing while it runs.
  const std::optional<Result<void>>& ended() const { return ended_; }
  // It has served with the token it has now (or, with x509pop, ever).
  bool has_served() const { return has_served_; }
  // Began an attestation, ever. A restart must not count up.
  int attestations() const { return *attestations_; }

  // From its disk, as the next run will find it.
  x509::CertificatePtr stored_svid() const;
  std::string stored_id() const;
  void fail_disk(bool failing);
  void slow_down(Duration least, Duration most);

  std::size_t number() const { return number_; }
  std::string host() const;
  HostClock& clock() { return clock_; }
  io::SimLoop& workload_loop() { return workload_loop_; }
  agent::FakeProcFs& procs() { return procs_; }
  int runs() const { return runs_; }

 private:
  // What a kill takes away. Members in the order of dependency.
  struct Process {
    Process(Node& node, io::SimWorkers::Options speed);
    io::SimLoop loop;
    io::SimWorkers workers;
    std::unique_ptr<io::Network> network;
    std::unique_ptr<agent::Agent> agent;
    bool serving = false;
  };

  std::unique_ptr<agent::NodeAttestor> attestor();
  agent::AgentConfig config() const;

  const std::size_t number_;
  const Plan& plan_;
  Deps deps_;
  HostClock clock_;
  io::SimLoop workload_loop_;
  agent::FakeProcFs procs_;
  NoNames names_;
  std::shared_ptr<io::MemoryDisk> disk_ = std::make_shared<io::MemoryDisk>();
  io::SimWorkers::Options speed_;
  std::string token_;
  std::optional<hcl::Value> x509pop_;
  std::shared_ptr<int> attestations_ = std::make_shared<int>(0);
  std::unique_ptr<Process> process_;
  std::optional<Result<void>> ended_;
  bool has_served_ = false;
  int runs_ = 0;
};

}  // namespace steeple::simulation
