// SPDX-License-Identifier: Apache-2.0

// The refusal for plugins of the server that are configured and that we have not: external ones,
// those of SPIRE that are not built, and names nobody knows. The catalogs call it for what is not
// in their table, the server for types that have no table at all (Notifier, CredentialComposer,
// BundlePublisher). Pure function.

#pragma once

#include "lib/base/error.h"
#include "lib/hcl/plugins.h"

namespace steeple::server {

// kUnimplemented `NodeAttestor "aws_iid" is not built`, or kInvalidArgument in SPIRE's words
// `no built-in plugin "x" for type "NodeAttestor"`.
Error unbuilt_plugin(const hcl::PluginConfig& plugin);

}  // namespace steeple::server
