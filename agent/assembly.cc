// SPDX-License-Identifier: Apache-2.0

#include "agent/assembly.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/workloadattestor/k8s_attestor.h"
#include "agent/workloadattestor/unix_attestor.h"
#include "lib/hcl/schema.h"
#include "lib/io/directory.h"

namespace steeple::agent {
namespace {

struct DiskKeysConfig {
  std::string directory;
};

const hcl::Schema<DiskKeysConfig>& disk_keys_schema() {
  static const auto schema =
      hcl::Schema<DiskKeysConfig>("disk", "Keys in keys.json.")
          .key("directory", &DiskKeysConfig::directory, "folder of keys.json");
  return schema;
}

const hcl::Schema<UnixAttestorOptions>& unix_schema() {
  using O = UnixAttestorOptions;
  static const auto schema =
      hcl::Schema<O>("unix", "Selectors from the kernel's account of a process.")
          .key("discover_workload_path", &O::discover_workload_path,
               "also the executable's path and hash")
          .key("workload_size_limit", &O::workload_size_limit,
               "largest executable in bytes; 0 = any, negative = no hash");
  return schema;
}

// What SPIRE has and this agent has not.
constexpr std::string_view kUnbuiltNodeAttestors[] = {
    "aws_iid", "azure_imds", "azure_msi", "gcp_iit", "http_challenge", "sshpop", "tpm_devid"};
constexpr std::string_view kUnbuiltWorkloadAttestors[] = {"docker", "slurm", "systemd", "windows"};

template <std::size_t N>
bool among(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Error unknown_plugin(const hcl::PluginConfig& plugin) {
  return invalid_argument(
      fmt::format("no built-in plugin \"{}\" for type \"{}\"", plugin.name, plugin.type));
}

Error unbuilt_plugin(const hcl::PluginConfig& plugin) {
  return unimplemented(
      fmt::format("{} \"{}\" is not supported by this agent", plugin.type, plugin.name));
}

using PluginList = std::vector<const hcl::PluginConfig*>;

Result<const hcl::PluginConfig*> exactly_one(const AgentConfig& config, std::string_view type) {
  PluginList plugins = hcl::enabled_plugins(config.plugins, type);
  if (plugins.size() != 1) {
    return invalid_argument(
        fmt::format("plugin type \"{}\" constraint not satisfied: expected exactly 1 but got {}",
                    type, plugins.size()));
  }
  return plugins.front();
}

Result<void> check_types(const AgentConfig& config) {
  for (const hcl::PluginConfig& plugin : config.plugins) {
    if (!plugin.enabled) {
      continue;
    }
    if (plugin.type != "KeyManager" && plugin.type != "NodeAttestor" &&
        plugin.type != "WorkloadAttestor" && plugin.type != "SVIDStore") {
      return invalid_argument(fmt::format("unsupported plugin type \"{}\"", plugin.type));
    }
    if (plugin.external()) {
      return unimplemented(fmt::format(
          "{} \"{}\": external plugins are not supported by this agent", plugin.type, plugin.name));
    }
    if (plugin.type == "SVIDStore") {
      return unbuilt_plugin(plugin);
    }
  }
  return {};
}

Result<std::unique_ptr<keymanager::KeyManager>> make_keys(const hcl::PluginConfig& plugin,
                                                          bool open) {
  if (plugin.name == "memory") {
    return keymanager::memory_key_manager();
  }
  if (plugin.name != "disk") {
    return unknown_plugin(plugin);
  }
  hcl::Value data = TRY(hcl::load_plugin_data(plugin));
  DiskKeysConfig disk = TRY(disk_keys_schema().decode(data).during("keymanager(disk)"));
  if (disk.directory.empty()) {
    return invalid_argument("keymanager(disk): directory is required");
  }
  if (!open) {
    return std::unique_ptr<keymanager::KeyManager>();
  }
  std::shared_ptr<io::Directory> folder = TRY(io::open_directory(disk.directory));
  return keymanager::disk_key_manager(std::move(folder));
}

Result<std::unique_ptr<NodeAttestor>> make_node_attestor(const AgentConfig& config) {
  const hcl::PluginConfig* plugin = TRY(exactly_one(config, "NodeAttestor"));
  if (!config.join_token.empty()) {
    return join_token_attestor(config.join_token.copy());
  }
  if (plugin->name == "join_token") {
    return join_token_attestor({});
  }
  if (plugin->name == "x509pop") {
    hcl::Value data = TRY(hcl::load_plugin_data(*plugin));
    return x509pop_attestor(data, system_random()).during("nodeattestor(x509pop)");
  }
  if (plugin->name == "k8s_psat") {
    hcl::Value data = TRY(hcl::load_plugin_data(*plugin));
    return k8s_psat_attestor(data).during("nodeattestor(k8s_psat)");
  }
  if (among(kUnbuiltNodeAttestors, plugin->name)) {
    return unbuilt_plugin(*plugin);
  }
  return unknown_plugin(*plugin);
}

Result<void> add_unix_attestor(const hcl::Value& data, AccountNames* names, Plugins* out) {
  UnixAttestorOptions options = TRY(unix_schema().decode(data));
  if (out != nullptr) {
    // Hashing an executable takes its time: then attestation goes to a worker.
    out->attest_on_loop &= !options.discover_workload_path || options.workload_size_limit < 0;
    out->workload_attestors.push_back(unix_attestor(options, *names));
  }
  return {};
}

Result<void> add_k8s_attestor(const hcl::Value& data, const PluginDeps* deps, Plugins* out) {
  auto environment = [deps](const char* variable) -> std::optional<std::string> {
    return deps != nullptr ? deps->environment(variable) : std::nullopt;
  };
  K8sAttestorOptions options = TRY(k8s_attestor_options(data, environment));
  if (out != nullptr) {
    out->attest_on_loop = false;  // it waits for the kubelet
    out->workload_attestors.push_back(
        k8s_attestor(std::move(options), {.loop = deps->loop,
                                          .transport = deps->kube_transport,
                                          .random = system_random(),
                                          .environment = deps->environment,
                                          .log = deps->log.subsystem("workload_attestor"),
                                          .late = out->late}));
  }
  return {};
}

// With `out` null it only checks.
Result<void> make_workload_attestors(const AgentConfig& config, const PluginDeps* deps,
                                     Plugins* out) {
  PluginList plugins = hcl::enabled_plugins(config.plugins, "WorkloadAttestor");
  if (plugins.empty()) {
    return invalid_argument(
        "plugin type \"WorkloadAttestor\" constraint not satisfied: expected at least 1 but got 0");
  }
  for (const hcl::PluginConfig* plugin : plugins) {
    if (plugin->name != "unix" && plugin->name != "k8s") {
      return among(kUnbuiltWorkloadAttestors, plugin->name) ? unbuilt_plugin(*plugin)
                                                            : unknown_plugin(*plugin);
    }
    hcl::Value data = TRY(hcl::load_plugin_data(*plugin));
    auto added = plugin->name == "unix"
                     ? add_unix_attestor(data, deps != nullptr ? &deps->names : nullptr, out)
                     : add_k8s_attestor(data, deps, out);
    TRY(std::move(added).during(fmt::format("workloadattestor({})", plugin->name)));
  }
  return {};
}

}  // namespace

Result<Plugins> make_plugins(const AgentConfig& config, const PluginDeps& deps) {
  TRY(check_types(config));
  Plugins out;
  const hcl::PluginConfig* keys = TRY(exactly_one(config, "KeyManager"));
  out.memory_keys = keys->name == "memory";
  out.keys = TRY(make_keys(*keys, true));
  out.node_attestor = TRY(make_node_attestor(config));
  TRY(make_workload_attestors(config, &deps, &out));
  return out;
}

Result<void> check_plugins(const AgentConfig& config) {
  TRY(check_types(config));
  TRY(make_keys(*TRY(exactly_one(config, "KeyManager")), false));
  TRY(make_node_attestor(config));
  return make_workload_attestors(config, nullptr, nullptr);
}

}  // namespace steeple::agent
