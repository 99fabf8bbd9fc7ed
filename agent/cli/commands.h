// SPDX-License-Identifier: Apache-2.0

// The commands of spire-agent but for run and validate (surface 3.3), one table.

#pragma once

#include <vector>

#include "lib/cli/app.h"

namespace steeple::agent {

std::vector<cli::Command> commands();

// Parts of the table, one file each.
void add_fetch_commands(std::vector<cli::Command>& table);
void add_jwt_commands(std::vector<cli::Command>& table);
void add_status_commands(std::vector<cli::Command>& table);

}  // namespace steeple::agent
