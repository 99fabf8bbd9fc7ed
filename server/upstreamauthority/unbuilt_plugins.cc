// SPDX-License-Identifier: Apache-2.0

#include "server/upstreamauthority/unbuilt_plugins.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace steeple::server {

namespace {

struct Known {
  std::string_view type;
  std::string_view name;
};

// What SPIRE 1.15 has built in and we have not.
constexpr std::array kSpiresOwn = {
    Known{"NodeAttestor", "aws_iid"},
    Known{"NodeAttestor", "azure_imds"},
    Known{"NodeAttestor", "azure_msi"},
    Known{"NodeAttestor", "gcp_iit"},
    Known{"NodeAttestor", "http_challenge"},
    Known{"NodeAttestor", "sshpop"},
    Known{"NodeAttestor", "tpm_devid"},
    Known{"UpstreamAuthority", "awssecret"},
    Known{"UpstreamAuthority", "aws_pca"},
    Known{"UpstreamAuthority", "cert-manager"},
    Known{"UpstreamAuthority", "ejbca"},
    Known{"UpstreamAuthority", "gcp_cas"},
    Known{"UpstreamAuthority", "spire"},
    Known{"UpstreamAuthority", "vault"},
    Known{"KeyManager", "aws_kms"},
    Known{"KeyManager", "azure_key_vault"},
    Known{"KeyManager", "gcp_kms"},
    Known{"KeyManager", "hashicorp_vault"},
    Known{"CredentialComposer", "uniqueid"},
    Known{"Notifier", "gcs_bundle"},
    Known{"BundlePublisher", "aws_rolesanywhere_trustanchor"},
    Known{"BundlePublisher", "aws_s3"},
    Known{"BundlePublisher", "azure_blob"},
    Known{"BundlePublisher", "gcp_cloudstorage"},
};

}  // namespace

Error unbuilt_plugin(const hcl::PluginConfig& plugin) {
  if (plugin.external()) {
    return unimplemented(
        fmt::format("external plugins are not built: {} \"{}\" has plugin_cmd \"{}\"", plugin.type,
                    plugin.name, plugin.command));
  }
  const bool spires_own = std::ranges::any_of(kSpiresOwn, [&plugin](const Known& known) {
    return known.type == plugin.type && known.name == plugin.name;
  });
  if (spires_own) {
    return unimplemented(fmt::format("{} \"{}\" is not built", plugin.type, plugin.name));
  }
  return invalid_argument(
      fmt::format("no built-in plugin \"{}\" for type \"{}\"", plugin.name, plugin.type));
}

}  // namespace steeple::server
