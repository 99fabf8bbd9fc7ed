// SPDX-License-Identifier: Apache-2.0

// ClusterFederatedTrustDomains become federation relationships of the server. They are few, so the
// whole list is compared, on a change and every kFederationInterval. A server without the
// TrustDomain API is told in the resources' Condition. On the loop.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/crd/cluster_federated_trust_domain.h"
#include "controller/reconcile/counters.h"
#include "controller/reconcile/spire_api.h"
#include "controller/reconcile/status.h"
#include "lib/base/random.h"
#include "lib/io/loop.h"
#include "lib/kube/backoff.h"
#include "lib/telemetry/log.h"
#include "spire/api/server/trustdomain/v1/trustdomain.pb.h"

namespace steeple::controller {

inline constexpr auto kFederationInterval = std::chrono::minutes(1);
using FederatedPtr = std::shared_ptr<const ClusterFederatedTrustDomain>;

class FederationSync {
 public:
  struct Deps {
    io::Loop& loop;
    SpireApi& spire;
    Random& random;
    Logger log;
    Counters& counters;
  };
  struct Options {
    ClassRule class_rule = {};
    bool dry_run = false;
  };
  using OnStatus = std::function<void(const ObjectMeta&, const ResourceStatus&)>;

  FederationSync(Deps deps, Options options, OnStatus on_status);

  void put(const FederatedPtr& resource);
  void remove(const std::string& name);
  // All resources are known: from now on relationships are written.
  void complete();
  // What would be done; after the first answer of the server.
  std::vector<std::string> plan() const { return plan_; }
  bool compared() const { return compared_; }

 private:
  using Relationship = ::spire::api::types::FederationRelationship;
  using ListResponse = ::spire::api::server::trustdomain::v1::ListFederationRelationshipsResponse;

  void list(const std::string& token);
  void listed(Result<ListResponse> page);
  void compare();
  template <class Response, class Request>
  void write(const char* name, const Request& request, std::vector<std::string> domains,
             const char* done);
  void failed(const Error& error);
  void next_write();
  void finish();
  void tell_all();

  Deps deps_;
  const Options options_;
  const OnStatus on_status_;
  std::map<std::string, FederatedPtr> resources_;
  std::map<std::string, FederatedPtr> by_domain_;  // who wins each
  std::map<std::string, Relationship> current_;
  std::map<std::string, std::string> refused_;  // domain -> why
  std::string trouble_;                         // of the API as a whole
  std::string trouble_reason_;
  std::vector<std::function<void()>> writes_;
  std::vector<std::string> plan_;
  bool complete_ = false;
  bool busy_ = false;
  bool again_ = false;
  bool compared_ = false;
  SpireApi::Handle call_;
  kube::Backoff backoff_;
  io::Timer timer_;
};

}  // namespace steeple::controller
