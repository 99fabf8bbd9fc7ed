// SPDX-License-Identifier: Apache-2.0

// The machine with the server: its database, its keys' disk and its clock outlive the process,
// which can be killed at any moment between two events.

#pragma once

#include <memory>
#include <string>

#include "lib/io/fake_directory.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "server/server.h"
#include "tests/simulation/host_clock.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/trace.h"

namespace steeple::simulation {

class ServerHost {
 public:
  struct Deps {
    io::SimScheduler& scheduler;
    io::SimSwitch& wires;
    tls::Handshake& handshake;
    Random& random;
    FakeClock& clock;
    Trace& trace;
  };
  static constexpr const char* kHost = "server";
  static constexpr const char* kSocket = "/run/server/api.sock";

  // `folder` holds pop-ca.pem and, with an upstream, upstream.pem and upstream.key.
  ServerHost(const Plan& plan, std::string folder, Deps deps);
  ~ServerHost();
  ServerHost(const ServerHost&) = delete;
  ServerHost& operator=(const ServerHost&) = delete;

  // False when it could not start; the trace says why.
  bool start();
  void kill();
  bool running() const { return process_ != nullptr; }
  void fail_disk(bool failing);
  void slow_down(Duration least, Duration most);
  HostClock& clock() { return clock_; }
  int runs() const { return runs_; }

 private:
  struct Process {
    Process(ServerHost& host, io::SimWorkers::Options speed);
    io::SimLoop loop;
    io::SimWorkers workers;
    std::unique_ptr<io::Network> network;
    std::unique_ptr<server::Server> server;
  };

  Result<server::ServerConfig> config() const;
  Result<server::Stores> stores() const;

  const Plan& plan_;
  const std::string folder_;
  Deps deps_;
  HostClock clock_;
  std::shared_ptr<sql::Database> database_;
  std::shared_ptr<io::MemoryDisk> disk_ = std::make_shared<io::MemoryDisk>();
  io::SimWorkers::Options speed_;
  std::unique_ptr<Process> process_;
  int runs_ = 0;
};

}  // namespace steeple::simulation
