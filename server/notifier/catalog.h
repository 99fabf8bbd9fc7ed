// SPDX-License-Identifier: Apache-2.0

// The table of notifiers that are built in. Others are refused by name.

#pragma once

#include <memory>

#include "lib/hcl/plugins.h"
#include "server/bundlepublisher/catalog.h"

namespace steeple::server {

// Checks the configuration without touching files (`validate`).
Result<void> check_notifier(const hcl::PluginConfig& plugin);
Result<std::unique_ptr<BundleTarget>> make_notifier(const hcl::PluginConfig& plugin,
                                                    const BundleTargetDeps& deps);

}  // namespace steeple::server
