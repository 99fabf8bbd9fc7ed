// SPDX-License-Identifier: Apache-2.0

// The controller manager, live: the webhook, the health and metrics pages on every replica, and the
// reconciler on the one that leads (or on the only one). Everything outside comes through Deps, so
// that a whole controller runs in a simulation. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/config/controller_config.h"
#include "controller/reconciler.h"
#include "controller/webhook/webhook.h"
#include "lib/base/random.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/kube/client.h"
#include "lib/kube/leader_election.h"
#include "lib/telemetry/log.h"
#include "lib/tls/handshake.h"

namespace steeple::controller {

class Controller {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    tls::Handshake& handshake;
    kube::Client* client;  // null in static mode
    Random& random;
    Logger log;
    Environment environment;
  };
  struct Options {
    bool webhook = true;
    bool dry_run = false;
    std::string host_name = {};
    std::string pod_namespace = {};  // where leases and events go unless the configuration says
    std::string pod_name = {};       // for events about the controller itself; may be empty
  };
  struct Hooks {
    // Once, last: stopped (no error), or it cannot go on.
    std::function<void(Result<void>)> ended;
    // Instead of work, with dry_run.
    std::function<void(const std::vector<std::string>&)> planned = {};
    std::function<void()> ready = {};
  };

  Controller(ControllerConfig config, Deps deps, Options options, Hooks hooks);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  void start();
  // Lets the lease go, closes the pages, then `ended`.
  void stop();
  // Null when this replica does not lead.
  const Reconciler* reconciler() const { return reconciler_.get(); }
  const Webhook* webhook() const { return webhook_.get(); }
  const Counters& counters() const { return counters_; }
  std::string metrics() const;
  std::vector<io::Endpoint> health_endpoints() const { return health_->endpoints(); }

 private:
  Result<void> open();
  Result<void> open_pages();
  Result<void> open_webhook();
  void elect();
  void lead();
  void stop_leading();
  void look_at_plan();
  void end(Result<void> how);

  const ControllerConfig config_;
  Deps deps_;
  const Options options_;
  const Hooks hooks_;
  Counters counters_;
  rpc::Channel channel_;
  SpireApi spire_;
  std::unique_ptr<http::Server> health_;
  std::unique_ptr<http::Server> metrics_;
  std::unique_ptr<kube::EventRecorder> events_;
  std::unique_ptr<Webhook> webhook_;
  std::unique_ptr<Reconciler> reconciler_;
  std::unique_ptr<kube::LeaderElection> election_;
  bool ended_ = false;
  bool stopping_ = false;
  io::Timer timer_;
};

// "host:port" or ":port" (all addresses). Nothing for "" and "0", which mean: do not listen.
Result<std::optional<io::Endpoint>> parse_bind_address(const std::string& text);

}  // namespace steeple::controller
