// SPDX-License-Identifier: Apache-2.0

// The commands of the sample workload.

#pragma once

#include <vector>

#include "lib/cli/app.h"
#include "spiffe/svid/x509_svid.h"
#include "spiffe/workloadapi/context.h"

namespace spiffe::example {

std::vector<steeple::cli::Command> commands();
steeple::cli::Command serve_command();
steeple::cli::Command call_command();
steeple::cli::Command watch_command();

// "SPIFFE ID: …", validity of the SVID and of each CA of its trust domain.
std::string describe(const X509Context& context);

}  // namespace spiffe::example
