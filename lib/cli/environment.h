// SPDX-License-Identifier: Apache-2.0

// All that a command sees of the world: its streams, the environment variables and the folder that
// relative paths start from. Injected, so that a command's output is a test's expectation.

#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace steeple::cli {

struct Environment {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  std::function<std::optional<std::string>(std::string_view name)> variable;
  std::string base_dir;  // empty: the working directory

  // `path` below base_dir, unless it is absolute.
  std::string resolve(const std::string& path) const;
};

// Of this process.
Environment process_environment();

// How commands find a socket: the flag when it differs from its default, then -instance put into
// the template variable's "%i", then the socket variable, then the default.
struct SocketFlags {
  std::string path;      // -socketPath, preset to the default
  std::string instance;  // -instance
};
struct SocketNames {
  std::string default_path;
  std::string socket_variable;    // "SPIRE_SERVER_PRIVATE_SOCKET"
  std::string template_variable;  // "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE"
  std::string missing_template;   // what to say when -instance is given without it
};
SocketNames server_socket();       // the server's private socket
SocketNames agent_socket();        // the agent's Workload API
SocketNames agent_admin_socket();  // the agent's admin API
Result<std::string> resolve_socket(const SocketFlags& flags, const SocketNames& names,
                                   const Environment& environment);

}  // namespace steeple::cli
