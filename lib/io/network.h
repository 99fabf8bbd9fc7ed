// SPDX-License-Identifier: Apache-2.0

// The network seam: listening and connecting. The real one is sockets; the simulated one is an
// in-memory switch with latency, partitions and resets. TLS sits above (lib/tls).

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/io/connection.h"
#include "lib/io/loop.h"

namespace steeple::io {

struct Endpoint {
  std::string unix_path;  // wins when set
  std::string host;       // name or address
  std::uint16_t port = 0;

  static Endpoint unix_socket(std::string path) { return {std::move(path), {}, 0}; }
  static Endpoint tcp(std::string host, std::uint16_t port) { return {{}, std::move(host), port}; }
  std::string text() const;  // "unix:///path" or "host:port"
};

struct ListenOptions {
  // Of the socket file; its directory is created with `directory_mode` when missing, and a stale
  // socket of a dead process is replaced.
  mode_t socket_mode = 0770;
  mode_t directory_mode = 0750;
  // Serve peers of other pid namespaces, too: their pid is 0, their uid and gid are known. Only for
  // sockets whose service does not depend on which process calls (the kubelet at a CSI socket).
  bool foreign_processes = false;
};

class Listener {
 public:
  virtual ~Listener() = default;          // stops listening; removes the socket file
  virtual Endpoint endpoint() const = 0;  // with the real port when 0 was asked
};

using AcceptHandler = std::function<void(std::unique_ptr<Connection>)>;
using ConnectHandler = std::move_only_function<void(Result<std::unique_ptr<Connection>>)>;

class Network {
 public:
  virtual ~Network() = default;
  // Handlers run on the loop.
  virtual Result<std::unique_ptr<Listener>> listen(Loop& loop, const Endpoint& at,
                                                   ListenOptions options,
                                                   AcceptHandler on_accept) = 0;
  // Tries each address of the name in turn within the timeout.
  virtual void connect(Loop& loop, const Endpoint& to, Duration timeout,
                       ConnectHandler handler) = 0;
};

}  // namespace steeple::io
