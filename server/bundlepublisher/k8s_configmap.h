// SPDX-License-Identifier: Apache-2.0

// k8s_configmap: the bundle as a document in a ConfigMap of each configured cluster, by server-side
// apply. A cluster that has the content already is left alone. On the loop.

#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "lib/hcl/value.h"
#include "lib/kube/lazy_client.h"
#include "server/bundlepublisher/bundle_delivery.h"

namespace steeple::server {

enum class BundleFormat : std::uint8_t { kSpiffe, kJwks, kPem };

Result<BundleFormat> parse_bundle_format(const std::string& text);
// As the reference's plugins write it.
Result<std::string> format_bundle(const jose::Bundle& bundle, BundleFormat format);

struct ConfigMapCluster {
  std::string configmap_name;
  std::string configmap_key;
  std::string name_space;
  std::string kubeconfig = {};  // empty: in-cluster
  BundleFormat format = BundleFormat::kSpiffe;
  Duration refresh_hint{};  // 0: the bundle's own
};
using ConfigMapClusters = std::map<std::string, ConfigMapCluster>;

// The plugin's settings; unknown keys to the log.
Result<ConfigMapClusters> k8s_configmap_clusters(const hcl::Value& data, const Logger& log);

std::unique_ptr<BundleTarget> k8s_configmap_publisher(const ConfigMapClusters& clusters,
                                                      const kube::LazyClientDeps& kube, Logger log);

}  // namespace steeple::server
