// SPDX-License-Identifier: Apache-2.0

// What a user of the installed library writes first: an identity, and a context for mutual TLS.
// Without an agent it ends with the library's own error, which the test expects.

#include <cstdio>

#include "spiffe/tls/tls_context.h"

int main() {
  auto source =
      spiffe::X509Source::make({.client_options = {.address = "unix:///nonexistent/agent.sock"},
                                .start_timeout = std::chrono::milliseconds(200)});
  if (!source.ok()) {
    std::printf("no identity: %s\n", source.error().message.c_str());
    return 3;
  }
  auto context = spiffe::mtls_server_context(*source, spiffe::authorize_any());
  return context.ok() ? 0 : 1;
}
