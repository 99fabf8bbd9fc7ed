// SPDX-License-Identifier: Apache-2.0

// `spire-agent run` and `validate`: reads the configuration, builds the world (loop, workers,
// sockets), starts the agent in it and waits for a signal or for the agent to end.

#pragma once

#include "lib/cli/app.h"

namespace steeple::agent {

cli::Command run_command();
cli::Command validate_command();

}  // namespace steeple::agent
