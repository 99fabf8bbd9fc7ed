// SPDX-License-Identifier: Apache-2.0

// Fetches the own bundle and the federated ones, at most kFederatedBundleCallsMax calls at once. A
// federated bundle that the server does not have is left out with a warning; for one that does not
// parse the known one stays; any other failure fails the whole. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <set>

#include "agent/cache/trust_bundle.h"
#include "agent/sync/server_api.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

inline constexpr std::size_t kFederatedBundleCallsMax = 10;

class BundleSync {
 public:
  using Done = std::move_only_function<void(Result<TrustBundles>)>;

  // `own`: fetch the own trust domain's bundle too. `known`: what there is so far.
  BundleSync(ServerApi& server, bool own, std::set<spiffe::TrustDomain> federated,
             TrustBundles known, Logger log, Done done);
  ~BundleSync();  // cancels
  BundleSync(const BundleSync&) = delete;
  BundleSync& operator=(const BundleSync&) = delete;

  void start();

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
