// SPDX-License-Identifier: Apache-2.0

#include "lib/io/socket_connection.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>

namespace steeple::io {

SocketConnection::SocketConnection(AsioLoop& loop, FileDescriptor socket,
                                   std::shared_ptr<const Peer> peer)
    : socket_(std::move(socket)), watch_(loop.watch(socket_.get())), peer_(std::move(peer)) {}

IoResult SocketConnection::failed() {
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    return {IoStatus::kWouldBlock};
  }
  error_ = errno;
  return {IoStatus::kError};
}

IoResult SocketConnection::read(std::span<char> into) {
  while (true) {
    ssize_t got = ::recv(socket_.get(), into.data(), into.size(), 0);
    if (got > 0) {
      return {IoStatus::kOk, static_cast<std::size_t>(got)};
    }
    if (got == 0) {
      return {IoStatus::kEof};
    }
    if (errno != EINTR) {
      return failed();
    }
  }
}

IoResult SocketConnection::write(ByteView from) {
  while (true) {
    ssize_t put = ::send(socket_.get(), from.data(), from.size(), MSG_NOSIGNAL);
    if (put >= 0) {
      return {IoStatus::kOk, static_cast<std::size_t>(put)};
    }
    if (errno != EINTR) {
      return failed();
    }
  }
}

void SocketConnection::shutdown_write() { ::shutdown(socket_.get(), SHUT_WR); }

std::string SocketConnection::last_error() const {
  return error_ == 0 ? std::string() : errno_text(error_);
}

std::string SocketAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, buffer.data(), buffer.size());
    return fmt::format("{}:{}", buffer.data(), port());
  }
  if (family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, buffer.data(), buffer.size());
    return fmt::format("[{}]:{}", buffer.data(), port());
  }
  return reinterpret_cast<const sockaddr_un*>(&storage)->sun_path;
}

std::uint16_t SocketAddress::port() const {
  if (family() == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  }
  if (family() == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  }
  return 0;
}

Result<SocketAddress> unix_address(const std::string& path) {
  SocketAddress address;
  auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
  local->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof local->sun_path ||
      path.find('\0') != std::string::npos) {
    return invalid_argument(fmt::format("\"{}\" is not a socket path of 1 to {} bytes", path,
                                        sizeof local->sun_path - 1));
  }
  std::memcpy(local->sun_path, path.data(), path.size());
  address.length = sizeof *local;
  return address;
}

Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port,
                                           bool numeric, bool for_listening) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : AI_ADDRCONFIG) |
                   (for_listening ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  int failure = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(),
                              &hints, &found);
  if (failure != 0) {
    bool unknown = failure == EAI_NONAME || failure == EAI_NODATA;
    return unavailable(
        fmt::format("lookup {}: {}", host, unknown ? "no such host" : ::gai_strerror(failure)));
  }
  std::vector<SocketAddress> out;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    if ((at->ai_family == AF_INET || at->ai_family == AF_INET6) &&
        at->ai_addrlen <= sizeof(sockaddr_storage)) {
      SocketAddress& address = out.emplace_back();
      std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
      address.length = at->ai_addrlen;
    }
  }
  ::freeaddrinfo(found);
  if (out.empty()) {
    return unavailable(fmt::format("lookup {}: no such host", host));
  }
  return out;
}

Result<FileDescriptor> open_socket(int family) {
  FileDescriptor socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) {
    return errno_error(errno, "socket");
  }
  return socket;
}

void set_no_delay(int fd) {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

AsioLoop& asio_loop(Loop& loop) {
  auto* real = dynamic_cast<AsioLoop*>(&loop);
  CHECK(real != nullptr && real->on_loop());
  return *real;
}

}  // namespace steeple::io
