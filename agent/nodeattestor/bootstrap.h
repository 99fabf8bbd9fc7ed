// SPDX-License-Identifier: Apache-2.0

// The trust in the server before there is a stored bundle: a file, a URL, or none at all
// (insecure_bootstrap). Read anew at every attempt. Blocks: on a worker.

#pragma once

#include <memory>
#include <optional>

#include "agent/config/agent_config.h"
#include "lib/base/result.h"
#include "lib/x509/verify.h"

namespace steeple::agent {

// Nothing: insecure bootstrap. Error texts are the reference's.
Result<std::optional<x509::Authorities>> read_bootstrap_bundle(const BootstrapTrust& trust);

}  // namespace steeple::agent
