// SPDX-License-Identifier: Apache-2.0

// The table of upstream authorities that are built in. Names that SPIRE knows and we do not build,
// and external plugins, are refused by name; nothing is ignored.

#pragma once

#include <memory>

#include "lib/hcl/plugins.h"
#include "server/upstreamauthority/disk.h"

namespace steeple::server {

// Checks the configuration without touching files (`validate`).
Result<void> check_upstream_authority(const hcl::PluginConfig& plugin);
// Blocks: reads files.
Result<std::unique_ptr<UpstreamAuthority>> make_upstream_authority(
    const hcl::PluginConfig& plugin, const spiffe::TrustDomain& trust_domain,
    const DiskUpstreamDeps& deps);

// Types of plugin that have no table because none of them is built (CredentialComposer): always an
// error. OK for every other type.
Result<void> refuse_unbuilt_plugin(const hcl::PluginConfig& plugin);

}  // namespace steeple::server
