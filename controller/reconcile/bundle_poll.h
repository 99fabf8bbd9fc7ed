// SPDX-License-Identifier: Apache-2.0

// Which federated trust domains have a bundle on the server. Asked once at start, and every few
// seconds while something federates, since nothing tells us when a bundle arrives. On the loop.

#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "controller/reconcile/counters.h"
#include "controller/reconcile/spire_api.h"
#include "lib/base/random.h"
#include "lib/io/loop.h"
#include "lib/kube/backoff.h"
#include "lib/telemetry/log.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"

namespace steeple::controller {

inline constexpr auto kBundlePollInterval = std::chrono::seconds(5);

class BundlePoll {
 public:
  struct Deps {
    io::Loop& loop;
    SpireApi& spire;
    Random& random;
    Logger log;
    Counters& counters;
  };
  // Nothing: the server does not tell; then all count as present.
  using Handler = std::function<void(std::optional<std::set<std::string>> domains)>;

  // `wanted` says whether to go on asking.
  BundlePoll(Deps deps, std::function<bool()> wanted, Handler handler);

  void start() { ask(""); }
  // Asks soon, if somebody wants to know.
  void poke();
  // The first answer is there.
  bool answered() const { return answered_; }

 private:
  using Response = ::spire::api::server::bundle::v1::ListFederatedBundlesResponse;

  void ask(const std::string& token);
  void got(Result<Response> page);

  Deps deps_;
  const std::function<bool()> wanted_;
  const Handler handler_;
  bool answered_ = false;
  bool asking_ = false;
  std::set<std::string> domains_;
  SpireApi::Handle call_;
  kube::Backoff backoff_;
  io::Timer timer_;
};

}  // namespace steeple::controller
