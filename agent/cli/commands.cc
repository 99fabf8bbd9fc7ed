// SPDX-License-Identifier: Apache-2.0

#include "agent/cli/commands.h"

namespace steeple::agent {

std::vector<cli::Command> commands() {
  std::vector<cli::Command> table;
  add_fetch_commands(table);
  add_jwt_commands(table);
  add_status_commands(table);
  return table;
}

}  // namespace steeple::agent
