// SPDX-License-Identifier: Apache-2.0

// The commands of spire-server (surface 3.2), one table.

#pragma once

#include <vector>

#include "lib/cli/app.h"
#include "server/version.h"

namespace steeple::server {

std::vector<cli::Command> commands();

// Parts of the table, one file each.
cli::Command run_command();
cli::Command validate_command();
void add_agent_commands(std::vector<cli::Command>& table);
void add_bundle_commands(std::vector<cli::Command>& table);
void add_entry_read_commands(std::vector<cli::Command>& table);
void add_entry_write_commands(std::vector<cli::Command>& table);
void add_mint_commands(std::vector<cli::Command>& table);
void add_status_commands(std::vector<cli::Command>& table);

}  // namespace steeple::server
