// SPDX-License-Identifier: Apache-2.0

#include "server/upstreamauthority/catalog.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "lib/hcl/schema.h"
#include "server/upstreamauthority/plugin_settings.h"
#include "server/upstreamauthority/unbuilt_plugins.h"

namespace steeple::server {

namespace {

const hcl::Schema<DiskUpstreamConfig>& disk_schema() {
  static const auto schema =
      hcl::Schema<DiskUpstreamConfig>("UpstreamAuthority \"disk\"",
                                      "A CA whose certificate and key are files.")
          .key("cert_file_path", &DiskUpstreamConfig::cert_file_path,
               "PEM file of the upstream CA and its intermediates")
          .key("key_file_path", &DiskUpstreamConfig::key_file_path, "PEM file of its key")
          .key("bundle_file_path", &DiskUpstreamConfig::bundle_file_path,
               "PEM file of the roots; without it the CA must be a self-signed root");
  return schema;
}

Result<DiskUpstreamConfig> decode_disk(const hcl::Value& data, const Logger& log) {
  DiskUpstreamConfig config =
      TRY(decode_settings(disk_schema(), data, log, "plugin configuration is malformed"));
  if (config.cert_file_path.empty() || config.key_file_path.empty()) {
    return invalid_argument("'cert_file_path' and 'key_file_path' must be set and not empty");
  }
  return config;
}

using Make = Result<std::unique_ptr<UpstreamAuthority>> (*)(const hcl::Value& data,
                                                            const spiffe::TrustDomain&,
                                                            const DiskUpstreamDeps&);
struct BuiltIn {
  std::string_view name;
  Result<void> (*check)(const hcl::Value& data);
  Make make;
};

constexpr std::array kBuiltIn = {
    BuiltIn{.name = "disk",
            .check = [](const hcl::Value& data) -> Result<void> {
              TRY(decode_disk(data, Logger()));
              return {};
            },
            .make = [](const hcl::Value& data, const spiffe::TrustDomain& trust_domain,
                       const DiskUpstreamDeps& deps) -> Result<std::unique_ptr<UpstreamAuthority>> {
              auto config = TRY(decode_disk(data, deps.log));
              return disk_upstream_authority(std::move(config), trust_domain, deps);
            }},
};

Result<const BuiltIn*> find(const hcl::PluginConfig& plugin) {
  if (!plugin.external()) {
    for (const BuiltIn& built_in : kBuiltIn) {
      if (built_in.name == plugin.name) {
        return &built_in;
      }
    }
  }
  return unbuilt_plugin(plugin);
}

}  // namespace

Result<void> check_upstream_authority(const hcl::PluginConfig& plugin) {
  const BuiltIn* built_in = TRY(find(plugin));
  if (!plugin.data && !plugin.data_file.empty()) {
    return {};  // the file is read at start
  }
  return built_in->check(plugin.data ? *plugin.data : hcl::make_object())
      .during(fmt::format("UpstreamAuthority \"{}\"", plugin.name));
}

Result<std::unique_ptr<UpstreamAuthority>> make_upstream_authority(
    const hcl::PluginConfig& plugin, const spiffe::TrustDomain& trust_domain,
    const DiskUpstreamDeps& deps) {
  const BuiltIn* built_in = TRY(find(plugin));
  const hcl::Value data = TRY(hcl::load_plugin_data(plugin));
  return built_in->make(data, trust_domain, deps)
      .during(fmt::format("UpstreamAuthority \"{}\"", plugin.name));
}

Result<void> refuse_unbuilt_plugin(const hcl::PluginConfig& plugin) {
  return plugin.type == "CredentialComposer" ? Result<void>(unbuilt_plugin(plugin))
                                             : Result<void>();
}

}  // namespace steeple::server
