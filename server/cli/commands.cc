// SPDX-License-Identifier: Apache-2.0

#include "server/cli/commands.h"

namespace steeple::server {

std::vector<cli::Command> commands() {
  std::vector<cli::Command> table;
  table.push_back(run_command());
  table.push_back(validate_command());
  return table;
}

}  // namespace steeple::server
