// SPDX-License-Identifier: Apache-2.0

// k8sbundle: the X.509 authorities as PEM in a ConfigMap that is there already, and as caBundle in
// webhook configurations and APIServices with a label, of one or several clusters. The labelled
// ones are followed by a watch, so that a new one gets the bundle at once. Changes are made with
// the resource version that was read, with the bundle of that moment: servers that write at the
// same time correct each other. On the loop.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/hcl/value.h"
#include "lib/kube/lazy_client.h"
#include "server/bundlepublisher/bundle_delivery.h"
#include "server/bundlepublisher/catalog.h"

namespace steeple::server {

inline constexpr int kConflictTries = 5;  // client-go's default

struct K8sBundleCluster {
  std::string name_space = "spire";
  std::string config_map = "spire-bundle";
  std::string config_map_key = "bundle.crt";
  std::string webhook_label = {};      // empty: no webhooks
  std::string api_service_label = {};  // empty: no APIServices
  std::string kubeconfig = {};         // empty: in-cluster
};

// The plugin's settings: the cluster at the top if it has any, or nothing else is there, then
// `clusters`. Unknown keys to the log.
Result<std::vector<K8sBundleCluster>> k8sbundle_clusters(const hcl::Value& data, const Logger& log);

// `deps.kube` must be there.
std::unique_ptr<BundleTarget> k8sbundle_notifier(const std::vector<K8sBundleCluster>& clusters,
                                                 const BundleTargetDeps& deps);

}  // namespace steeple::server
