// SPDX-License-Identifier: Apache-2.0

// A connected stream socket as a Connection, and socket addresses. Inner parts of SocketNetwork.

#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <memory>
#include <string>

#include "lib/io/asio_loop.h"
#include "lib/io/connection.h"
#include "lib/io/file_descriptor.h"
#include "lib/io/network.h"

namespace steeple::io {

class SocketConnection final : public Connection {
 public:
  // `socket` is connected, non-blocking and close-on-exec.
  SocketConnection(AsioLoop& loop, FileDescriptor socket, std::shared_ptr<const Peer> peer);

  IoResult read(std::span<char> into) override;
  IoResult write(ByteView from) override;
  void on_ready(ReadyHandler handler) override { watch_->on_ready(std::move(handler)); }
  void interest(bool readable, bool writable) override { watch_->interest(readable, writable); }
  void shutdown_write() override;
  std::shared_ptr<const Peer> peer() const override { return peer_; }
  std::string last_error() const override;
  int fd() const override { return socket_.get(); }

 private:
  IoResult failed();

  FileDescriptor socket_;  // outlives its watch
  std::unique_ptr<FdWatch> watch_;
  const std::shared_ptr<const Peer> peer_;
  int error_ = 0;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  std::string text() const;  // "ip:port" or "[ip]:port"; the path of a Unix socket
  std::uint16_t port() const;
};

Result<SocketAddress> unix_address(const std::string& path);
// Blocks on names; with `numeric` it refuses them instead.
Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port,
                                           bool numeric, bool for_listening);
// A non-blocking, close-on-exec stream socket.
Result<FileDescriptor> open_socket(int family);
void set_no_delay(int fd);

// The loop as the one that can watch sockets; anything else is our bug.
AsioLoop& asio_loop(Loop& loop);

// Inner parts of SocketNetwork::listen (socket_listener.cc).
Result<std::unique_ptr<Listener>> listen_on(AsioLoop& loop, const Endpoint& at,
                                            const ListenOptions& options, AcceptHandler on_accept);

}  // namespace steeple::io
