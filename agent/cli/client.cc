// SPDX-License-Identifier: Apache-2.0

#include "agent/cli/client.h"

#include <ostream>

namespace steeple::agent {

void bind_socket(cli::FlagSet& flags, WorkloadFlags& to) {
  to.socket.path = cli::agent_socket().default_path;
  flags.add("socketPath", &to.socket.path, "Path to the SPIRE Agent API Unix domain socket");
  flags.add("instance", &to.socket.instance,
            "Instance name to substitute into socket templates (env "
            "SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE).");
}

void bind_workload(cli::FlagSet& flags, WorkloadFlags& to) {
  bind_socket(flags, to);
  flags.add_duration_value("timeout", &to.timeout, "Time to wait for a response");
  cli::add_output_flag(flags, to.output);
}

Result<cli::SocketClient> connect_workload(const WorkloadFlags& flags, Duration timeout,
                                           const cli::Environment& environment) {
  std::string path = TRY(cli::resolve_socket(flags.socket, cli::agent_socket(), environment));
  return cli::SocketClient(std::move(path),
                           {.timeout = timeout, .metadata = {{"workload.spiffe.io", "true"}}});
}

int finish_plain(const Result<void>& result, cli::Environment& environment) {
  if (result.ok()) {
    return 0;
  }
  if (!result.error().message.empty()) {
    environment.err << result.error().message << "\n";
  }
  return 1;
}

}  // namespace steeple::agent
