// SPDX-License-Identifier: Apache-2.0

// The table of bundle publishers that are built in. Others are refused by name.

#pragma once

#include <memory>
#include <vector>

#include "lib/hcl/plugins.h"
#include "lib/kube/lazy_client.h"
#include "server/bundlepublisher/bundle_delivery.h"

namespace steeple::server {

struct BundleTargetDeps {
  const kube::LazyClientDeps* kube;  // null: no Kubernetes here (simulations)
  Random& random;
  BundleSource bundle;
  Logger log;
};

// Checks the configuration without touching files (`validate`).
Result<void> check_bundle_publisher(const hcl::PluginConfig& plugin);
Result<std::unique_ptr<BundleTarget>> make_bundle_publisher(const hcl::PluginConfig& plugin,
                                                            const BundleTargetDeps& deps);

}  // namespace steeple::server
