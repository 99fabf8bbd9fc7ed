// SPDX-License-Identifier: Apache-2.0

// What the commands that use the Workload API share.

#pragma once

#include <string>

#include "lib/base/clock.h"
#include "lib/cli/environment.h"
#include "lib/cli/flags.h"
#include "lib/cli/printer.h"
#include "lib/cli/socket_client.h"

namespace steeple::agent {

struct WorkloadFlags {
  cli::SocketFlags socket;
  cli::Output output;
  Duration timeout = std::chrono::seconds(5);
};
void bind_socket(cli::FlagSet& flags, WorkloadFlags& to);
// -socketPath, -instance, -timeout and -output.
void bind_workload(cli::FlagSet& flags, WorkloadFlags& to);

// A client of the Workload API, with its header.
Result<cli::SocketClient> connect_workload(const WorkloadFlags& flags, Duration timeout,
                                           const cli::Environment& environment);

// These commands print an error as it is, without "Error: ".
int finish_plain(const Result<void>& result, cli::Environment& environment);

}  // namespace steeple::agent
