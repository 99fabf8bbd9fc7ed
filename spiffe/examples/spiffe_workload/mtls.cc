// SPDX-License-Identifier: Apache-2.0

// `serve` and `call`: HTTPS between two workloads that know each other by SPIFFE ID. Plain blocking
// sockets on purpose: what matters here is that the OpenSSL context is all a program needs.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <ostream>

#include "lib/io/file_descriptor.h"
#include "spiffe/examples/spiffe_workload/commands.h"
#include "spiffe/tls/tls_context.h"

namespace spiffe::example {
namespace {

using steeple::Result;
using steeple::io::FileDescriptor;
namespace cli = steeple::cli;

constexpr std::size_t kRequestBytesMax = 16 << 10;
constexpr std::size_t kResponseBytesMax = 1 << 20;
constexpr int kBacklog = 64;
constexpr int kReachIntervalMs = 200;
constexpr timeval kSocketTimeout{.tv_sec = 10, .tv_usec = 0};

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using Ssl = std::unique_ptr<SSL, FreeSsl>;

struct HostPort {
  std::string host;
  std::string port;
};

Result<HostPort> split(const std::string& address) {
  std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size()) {
    return steeple::invalid_argument(fmt::format("\"{}\" is not host:port", address));
  }
  return HostPort{address.substr(0, colon), address.substr(colon + 1)};
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

Result<std::unique_ptr<addrinfo, FreeAddresses>> resolve(const HostPort& at, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  int failed =
      getaddrinfo(at.host.empty() ? nullptr : at.host.c_str(), at.port.c_str(), &hints, &list);
  if (failed != 0) {
    return steeple::unavailable(fmt::format("lookup {}: {}", at.host, gai_strerror(failed)));
  }
  return std::unique_ptr<addrinfo, FreeAddresses>(list);
}

// Calls `use` (bind or connect) on each address until one works.
template <class Use>
Result<FileDescriptor> open_socket(const HostPort& at, int flags, std::string_view doing, Use use) {
  auto list = TRY(resolve(at, flags));
  int error = 0;
  for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    FileDescriptor fd(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
      error = errno;
      continue;
    }
    int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (use(fd.get(), one->ai_addr, one->ai_addrlen) == 0) {
      return fd;
    }
    error = errno;
  }
  return steeple::errno_error(error, fmt::format("{} {}:{}", doing, at.host, at.port));
}

std::string ssl_error() {
  std::array<char, 256> text{};
  unsigned long code = ERR_get_error();
  if (code == 0) {
    return "connection closed";
  }
  ERR_error_string_n(code, text.data(), text.size());
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : text.data();
}

void limit_waits(int fd) {
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kSocketTimeout, sizeof kSocketTimeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kSocketTimeout, sizeof kSocketTimeout);
}

bool write_all(SSL* ssl, std::string_view text) {
  while (!text.empty()) {
    int written = SSL_write(ssl, text.data(), static_cast<int>(text.size()));
    if (written <= 0) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// --- serve ---

struct ServeFlags {
  std::string address = ":8443";
  std::string allow;
};

void bind_serve(cli::FlagSet& flags, ServeFlags& to) {
  flags.add("address", &to.address, "host:port to listen on");
  flags.add("allow", &to.allow, "The SPIFFE ID that may call; others fail the handshake");
}

void answer(SSL* ssl, std::ostream& log) {
  std::string request;
  std::array<char, 4096> buffer{};
  while (request.find("\r\n\r\n") == std::string::npos && request.size() < kRequestBytesMax) {
    int got = SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size()));
    if (got <= 0) {
      return;
    }
    request.append(buffer.data(), static_cast<std::size_t>(got));
  }
  auto peer = peer_id(ssl);
  std::string status = "401 Unauthorized";
  std::string body = "Unauthorized\n";
  if (peer.ok()) {
    status = "200 OK";
    body = fmt::format("Hello {}! Here's your secure data.\n", peer->text());
    log << request.substr(0, request.find("\r\n")) << " from " << peer->text() << std::endl;
  }
  write_all(ssl, fmt::format("HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\n"
                             "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
                             status, body.size(), body));
  SSL_shutdown(ssl);
}

Result<void> serve(const ServeFlags& flags, cli::Environment& environment) {
  if (flags.allow.empty()) {
    return steeple::invalid_argument("allow must be specified");
  }
  auto allowed = TRY(SpiffeId::parse(flags.allow).during("allow"));
  auto source = TRY(X509Source::make());
  auto context = TRY(mtls_server_context(source, authorize_id(allowed), {"http/1.1"}));
  FileDescriptor listener = TRY(
      open_socket(TRY(split(flags.address)), AI_PASSIVE, "listen on",
                  [](int fd, const sockaddr* at, socklen_t size) { return ::bind(fd, at, size); }));
  if (::listen(listener.get(), kBacklog) != 0) {
    return steeple::errno_error(errno, "listen");
  }
  environment.out << "Server listening on " << flags.address << "..." << std::endl;
  while (true) {
    FileDescriptor connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) {
      continue;
    }
    limit_waits(connection.get());
    Ssl ssl(SSL_new(context.get()));
    ERR_clear_error();
    SSL_set_fd(ssl.get(), connection.get());
    if (SSL_accept(ssl.get()) == 1) {
      answer(ssl.get(), environment.out);
    } else {
      environment.err << "handshake refused: " << ssl_error() << std::endl;
      ::shutdown(connection.get(), SHUT_WR);
    }
  }
}

// --- call ---

struct CallFlags {
  std::string address = "backend.default.svc.cluster.local:8443";
  std::string expect;
  std::string path = "/api/data";
  steeple::Duration timeout = std::chrono::seconds(10);
};

void bind_call(cli::FlagSet& flags, CallFlags& to) {
  flags.add("address", &to.address, "host:port of the server");
  flags.add("expect", &to.expect, "The SPIFFE ID that the server must have");
  flags.add("path", &to.path, "What to ask for");
  flags.add("timeout", &to.timeout, "How long to try to reach the server");
}

// A server that has just been moved is found again in a moment: tries until the timeout.
Result<FileDescriptor> reach(const HostPort& at, steeple::Duration timeout) {
  auto end = steeple::system_clock().steady() + timeout;
  for (;;) {
    auto fd = open_socket(at, 0, "connect to", [](int socket, const sockaddr* to, socklen_t size) {
      return ::connect(socket, to, size);
    });
    if (fd.ok() || steeple::system_clock().steady() >= end) {
      return fd;
    }
    ::poll(nullptr, 0, kReachIntervalMs);
  }
}

Result<void> call(const CallFlags& flags, cli::Environment& environment) {
  if (flags.expect.empty()) {
    return steeple::invalid_argument("expect must be specified");
  }
  auto expected = TRY(SpiffeId::parse(flags.expect).during("expect"));
  auto source = TRY(X509Source::make());
  auto context = TRY(mtls_client_context(source, authorize_id(expected), {"http/1.1"}));
  HostPort at = TRY(split(flags.address));
  FileDescriptor fd = TRY(reach(at, flags.timeout));
  limit_waits(fd.get());
  Ssl ssl(SSL_new(context.get()));
  ERR_clear_error();
  SSL_set_fd(ssl.get(), fd.get());
  if (SSL_connect(ssl.get()) != 1) {
    return steeple::permission_denied(fmt::format("handshake failed: {}", ssl_error()));
  }
  if (!write_all(ssl.get(), fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                                        flags.path, at.host))) {
    return steeple::unavailable(fmt::format("send request: {}", ssl_error()));
  }
  std::string response;
  std::array<char, 4096> buffer{};
  int got = 0;
  while (response.size() < kResponseBytesMax &&
         (got = SSL_read(ssl.get(), buffer.data(), static_cast<int>(buffer.size()))) > 0) {
    response.append(buffer.data(), static_cast<std::size_t>(got));
  }
  std::size_t body = response.find("\r\n\r\n");
  if (body == std::string::npos) {
    // With TLS 1.3 the server's refusal arrives after our side of the handshake is done.
    return steeple::permission_denied(fmt::format("no response: {}", ssl_error()));
  }
  environment.out << "Response: " << response.substr(body + 4);
  return {};
}

}  // namespace

cli::Command serve_command() {
  return cli::command<ServeFlags>("serve", "Serves one caller over mutual TLS", bind_serve, serve);
}

cli::Command call_command() {
  return cli::command<CallFlags>("call", "Calls a server over mutual TLS", bind_call, call);
}

}  // namespace spiffe::example
