// SPDX-License-Identifier: Apache-2.0

// k8s_psat: the agent shows the projected service account token of its pod; the API server of its
// cluster says whose it is (TokenReview), and which pod and node that is. Calls to the API server
// hold a worker: while one does not answer, one attestation at a time asks it and the others fail
// at once. The client is made on first use: a cluster that cannot be reached does not keep the
// server from starting.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lib/hcl/value.h"
#include "lib/kube/lazy_client.h"
#include "lib/telemetry/log.h"
#include "server/nodeattestor/node_attestor.h"
#include "spiffe/trust_domain.h"

namespace steeple::server {

// Of one request to an API server; an attestation makes three.
inline constexpr auto kPsatRequestTimeout = std::chrono::seconds(10);

struct PsatCluster {
  std::set<std::string, std::less<>> service_accounts;   // "namespace:name"
  std::vector<std::string> audience = {"spire-server"};  // empty: the API server's own
  std::string kubeconfig = {};                           // empty: in-cluster
  std::set<std::string, std::less<>> node_label_keys = {};
  std::set<std::string, std::less<>> pod_label_keys = {};
  bool use_pod_uid_for_agent_id = false;
};

using PsatClusters = std::map<std::string, PsatCluster, std::less<>>;

// The plugin's settings; every mistake at once, unknown keys to the log.
Result<PsatClusters> k8s_psat_clusters(const hcl::Value& data, const Logger& log);

// `kube` must outlive the attestor.
std::unique_ptr<NodeAttestor> k8s_psat_attestor(PsatClusters clusters,
                                                spiffe::TrustDomain trust_domain,
                                                const kube::LazyClientDeps& kube);

}  // namespace steeple::server
