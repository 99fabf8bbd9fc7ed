// SPDX-License-Identifier: Apache-2.0

#include "server/cli/commands.h"

namespace steeple::server {

std::vector<cli::Command> commands() {
  std::vector<cli::Command> table;
  table.push_back(run_command());
  table.push_back(validate_command());
  add_agent_commands(table);
  add_bundle_commands(table);
  add_entry_read_commands(table);
  add_entry_write_commands(table);
  add_mint_commands(table);
  add_status_commands(table);
  return table;
}

}  // namespace steeple::server
