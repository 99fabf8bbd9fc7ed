// SPDX-License-Identifier: Apache-2.0

// The program: flags, configuration, the world (loop, workers, sockets, API server), then the
// controller in it until a signal or its end.

#pragma once

#include <span>
#include <string>

#include "lib/cli/environment.h"

namespace steeple::controller {

// `arguments` without the program's name; the exit code.
int run(std::span<const std::string> arguments, cli::Environment& environment);

}  // namespace steeple::controller
