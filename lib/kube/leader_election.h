// SPDX-License-Identifier: Apache-2.0

// Leader election by a Lease (coordination.k8s.io/v1), understood by client-go's electors: same
// fields, same times, expiry judged by our own clock from when we saw the record change. Where
// client-go asks every two seconds whether the leader is still there, a candidate here watches the
// Lease: it takes over at once when the leader lets go, and when the lease runs out. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/base/random.h"
#include "lib/io/loop.h"
#include "lib/kube/client.h"

namespace steeple::kube {

struct LeaderElectionOptions {
  std::string name_space;
  std::string name;
  std::string identity;  // unique among the candidates
  Duration lease_duration = std::chrono::seconds(15);
  Duration renew_deadline = std::chrono::seconds(10);
  Duration retry_period = std::chrono::seconds(2);
};

struct LeaderElectionHandlers {
  std::function<void()> on_leading;
  // Lost, or stopped: whoever leads must have stopped acting when this returns.
  std::function<void()> on_lost;
  std::function<void(const std::string& identity)> on_leader = {};  // of whoever leads, us included
  std::function<void(const Error&)> on_trouble = {};
};

class LeaderElection {
 public:
  struct Deps {
    Client& client;
    Random& random;
  };
  LeaderElection(Deps deps, LeaderElectionOptions options, LeaderElectionHandlers handlers);
  ~LeaderElection();  // without release: the lease runs out
  LeaderElection(const LeaderElection&) = delete;
  LeaderElection& operator=(const LeaderElection&) = delete;

  void start();
  // on_lost if we led, then lets the lease go, then `done` (within renew_deadline at most).
  void stop(io::Task done);
  bool leading() const;
  const std::string& leader() const;  // as last seen; may be empty

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace steeple::kube
