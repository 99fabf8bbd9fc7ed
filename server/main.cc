// SPDX-License-Identifier: Apache-2.0

// spire-server: the command line is a table (server/cli), the server itself one class (server.h).

#include <string>
#include <vector>

#include "lib/cli/app.h"
#include "server/cli/commands.h"

int main(int argc, char** argv) {
  steeple::cli::App app("spire-server", steeple::server::kVersion);
  for (steeple::cli::Command& command : steeple::server::commands()) {
    app.add(std::move(command));
  }
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return app.run(arguments, steeple::cli::process_environment());
}
