// SPDX-License-Identifier: Apache-2.0

// spiffe-workload: a sample workload on the client library.
//   get-svid   prints the identity it gets
//   get-jwt    prints a token for an audience, and checks it
//   serve      an HTTPS server that only answers one SPIFFE ID
//   call       a client of it
//   watch      stays and prints the identity whenever it changes; also without a command
// The address of the Workload API comes from SPIFFE_ENDPOINT_SOCKET.

#include <string>
#include <vector>

#include "lib/cli/app.h"
#include "spiffe/examples/spiffe_workload/commands.h"

int main(int argc, char** argv) {
  steeple::cli::App app("spiffe-workload", "1.15.3");
  for (steeple::cli::Command& command : spiffe::example::commands()) {
    app.add(std::move(command));
  }
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) {
    arguments.emplace_back("watch");  // a container that is given no command stays
  }
  return app.run(arguments, steeple::cli::process_environment());
}
