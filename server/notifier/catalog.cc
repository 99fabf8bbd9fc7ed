// SPDX-License-Identifier: Apache-2.0

#include "server/notifier/catalog.h"

#include <fmt/format.h>

#include "server/notifier/k8sbundle.h"
#include "server/upstreamauthority/unbuilt_plugins.h"

namespace steeple::server {
namespace {

Result<void> check_name(const hcl::PluginConfig& plugin) {
  if (plugin.external() || plugin.name != "k8sbundle") {
    return unbuilt_plugin(plugin);
  }
  return {};
}

std::string doing(const hcl::PluginConfig& plugin) {
  return fmt::format("Notifier \"{}\"", plugin.name);
}

}  // namespace

Result<void> check_notifier(const hcl::PluginConfig& plugin) {
  TRY(check_name(plugin));
  if (!plugin.data && !plugin.data_file.empty()) {
    return {};  // the file is read at start
  }
  TRY(k8sbundle_clusters(plugin.data ? *plugin.data : hcl::make_object(), Logger())
          .during(doing(plugin)));
  return {};
}

Result<std::unique_ptr<BundleTarget>> make_notifier(const hcl::PluginConfig& plugin,
                                                    const BundleTargetDeps& deps) {
  TRY(check_name(plugin));
  if (deps.kube == nullptr) {
    return unimplemented(doing(plugin) + ": there is no Kubernetes client here");
  }
  const hcl::Value data = TRY(hcl::load_plugin_data(plugin));
  auto clusters = TRY(k8sbundle_clusters(data, deps.log).during(doing(plugin)));
  return k8sbundle_notifier(clusters, deps);
}

}  // namespace steeple::server
