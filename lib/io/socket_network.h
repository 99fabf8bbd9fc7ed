// SPDX-License-Identifier: Apache-2.0

// The real Network: Unix and TCP sockets on AsioLoops (any other Loop is a bug). A Unix peer's
// credentials and pidfd are taken at accept; a peer whose process cannot be named is refused.
// Names are resolved on threads of their own, never on a loop.
//
// Threads: `listen` and `connect` on the loop they are given. Destroy the network on its loop, or
// while the loop does not run, and before the loop; connects under way are then dropped, their
// handlers destroyed unrun.

#pragma once

#include <memory>

#include "lib/io/network.h"

namespace steeple::io {

class SocketNetwork final : public Network {
 public:
  SocketNetwork();
  ~SocketNetwork() override;
  SocketNetwork(const SocketNetwork&) = delete;
  SocketNetwork& operator=(const SocketNetwork&) = delete;

  // Refuses a path where a living process listens (EADDRINUSE) or where something else than a
  // socket stands.
  Result<std::unique_ptr<Listener>> listen(Loop& loop, const Endpoint& at, ListenOptions options,
                                           AcceptHandler on_accept) override;
  // Errors read as Go's: "dial unix /x: connect: no such file or directory".
  void connect(Loop& loop, const Endpoint& to, Duration timeout, ConnectHandler handler) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace steeple::io
