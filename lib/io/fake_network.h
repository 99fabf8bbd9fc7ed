// SPDX-License-Identifier: Apache-2.0

// The simulated twin of the network: a switch in memory between named hosts. Bytes take time, come
// in pieces, and never overtake each other. Links can be cut (bytes wait, as TCP's would, and both
// ends are half-open meanwhile), connections reset, and a host can vanish without a word. All
// choices come from the scheduler's seed.
//
// Each simulated process gets a Network of its own from `join`, with the credentials its Unix peers
// see. Unix paths belong to a host; TCP endpoints name the host they are on (or localhost).

#pragma once

#include <memory>
#include <string>

#include "lib/io/fake_loop.h"
#include "lib/io/network.h"

namespace steeple::io {

class SimSwitch {
 public:
  struct Options {
    Duration latency_min = std::chrono::microseconds(20);
    Duration latency_max = std::chrono::milliseconds(2);
    std::size_t buffer_bytes = std::size_t{64} << 10;  // per direction
    bool short_transfers = true;  // reads and writes may move less than they could
  };
  struct Process {
    pid_t pid = 1;
    uid_t uid = 0;
    gid_t gid = 0;
    std::uint64_t start_time = 1;
  };

  SimSwitch(SimScheduler& scheduler, Options options);
  explicit SimSwitch(SimScheduler& scheduler) : SimSwitch(scheduler, Options{}) {}
  ~SimSwitch();  // after its networks and connections
  SimSwitch(const SimSwitch&) = delete;
  SimSwitch& operator=(const SimSwitch&) = delete;

  // A process on the host. Its loops must be SimLoops of this scheduler.
  std::unique_ptr<Network> join(const std::string& host, Process process);
  std::unique_ptr<Network> join(const std::string& host) { return join(host, Process{}); }

  void cut(const std::string& a, const std::string& b);
  void heal(const std::string& a, const std::string& b);
  // All links of all hosts.
  void heal_all();
  // Connections between the hosts end with an error at both ends, at once. The same host twice:
  // its local ones.
  void reset_connections(const std::string& a, const std::string& b);
  // A power cut: its connections and listeners are gone, and nobody is told. Peers that send learn
  // of it.
  void vanish(const std::string& host);

  std::size_t connection_count() const;
  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace steeple::io
