// SPDX-License-Identifier: Apache-2.0

// `logger get|set|reset`, the same for server and agent: their Logger APIs differ in package name
// and socket only.

#pragma once

#include <string>
#include <vector>

#include "lib/cli/app.h"
#include "lib/cli/socket_client.h"

namespace steeple::cli {

struct LoggerCommands {
  SocketNames socket;
  std::string socket_help;    // of -socketPath
  std::string instance_help;  // of -instance; empty: there is no such flag
  std::string service;        // "/spire.api.server.logger.v1.Logger/"
  bool target_in_errors = false;
};

void add_logger_commands(std::vector<Command>& table, const LoggerCommands& which);

}  // namespace steeple::cli
