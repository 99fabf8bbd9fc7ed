// SPDX-License-Identifier: Apache-2.0

// spire-agent: the command line is a table, the agent itself one class (agent.h).

#include <string>
#include <vector>

#include "agent/cli/commands.h"
#include "agent/run.h"
#include "agent/version.h"
#include "lib/cli/app.h"

int main(int argc, char** argv) {
  steeple::cli::App app("spire-agent", steeple::agent::kVersion);
  app.add(steeple::agent::run_command());
  app.add(steeple::agent::validate_command());
  for (steeple::cli::Command& command : steeple::agent::commands()) {
    app.add(std::move(command));
  }
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return app.run(arguments, steeple::cli::process_environment());
}
