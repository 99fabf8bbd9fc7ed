// SPDX-License-Identifier: Apache-2.0

// For tests: a real loop that runs until something is true, and pairs of connected TCP sockets on
// the loopback. A condition that never comes true ends the wait after ten seconds, and fails.

#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lib/base/check.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_connection.h"

namespace steeple::tls {

inline std::pair<io::FileDescriptor, io::FileDescriptor> tcp_pair() {
  io::FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  auto* raw = reinterpret_cast<sockaddr*>(&at);
  CHECK(::bind(listener.get(), raw, size) == 0 && ::listen(listener.get(), 1) == 0 &&
        ::getsockname(listener.get(), raw, &size) == 0);
  io::FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(::connect(client.get(), raw, size) == 0);
  io::FileDescriptor server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  for (int fd : {client.get(), server.get()}) {
    int on = 1;
    CHECK(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
          ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  }
  return {std::move(client), std::move(server)};
}

class FakeWire {
 public:
  io::AsioLoop& loop() { return loop_; }

  std::unique_ptr<io::Connection> wrap(io::FileDescriptor fd, std::string address) {
    auto peer = std::make_shared<io::Peer>();
    peer->address = std::move(address);
    return std::make_unique<io::SocketConnection>(loop_, std::move(fd), std::move(peer));
  }
  // {client side, server side}
  std::pair<std::unique_ptr<io::Connection>, std::unique_ptr<io::Connection>> pair() {
    auto [client, server] = tcp_pair();
    return {wrap(std::move(client), "192.0.2.2:8081"), wrap(std::move(server), "192.0.2.1:5000")};
  }

  // `meanwhile` runs at every turn: for a peer that is not on the loop.
  [[nodiscard]] bool until(const std::function<bool()>& done,
                           const std::function<void()>& meanwhile = {}) {
    SteadyTime deadline = loop_.clock().steady() + std::chrono::seconds(10);
    std::function<void()> turn = [&] {
      if (meanwhile) {
        meanwhile();
      }
      if (done() || loop_.clock().steady() > deadline) {
        loop_.stop();
        return;
      }
      loop_.start_timer(std::chrono::microseconds(200), [&turn] { turn(); });
    };
    loop_.start_timer({}, [&turn] { turn(); });
    loop_.run();
    return done();
  }

 private:
  io::AsioLoop loop_;
};

// Reads whatever comes and remembers how it ended; writes what it is given as room appears.
class FakeEndpoint {
 public:
  explicit FakeEndpoint(std::unique_ptr<io::Connection> connection)
      : connection_(std::move(connection)) {
    connection_->on_ready([this](bool readable, bool writable) { ready(readable, writable); });
    connection_->interest(true, false);
  }

  FakeEndpoint(const FakeEndpoint&) = delete;
  FakeEndpoint& operator=(const FakeEndpoint&) = delete;

  io::Connection& connection() { return *connection_; }
  const Bytes& received() const { return received_; }
  bool eof() const { return eof_; }
  bool failed() const { return failed_; }
  bool ended() const { return eof_ || failed_; }
  bool sent() const { return out_.empty(); }
  std::size_t blocked() const { return blocked_; }
  std::string error() const { return connection_->last_error(); }
  // From now on what comes is read and forgotten.
  void discard() { keep_ = false; }
  void pause_reading() {
    reading_ = false;
    update();
  }
  void resume_reading() {
    reading_ = true;
    update();
  }
  void send(ByteView bytes) {
    out_ += bytes;
    flush();
    update();
  }

 private:
  void ready(bool readable, bool writable) {
    if (writable) {
      flush();
    }
    std::array<char, 7000> buffer;  // not a divisor of anything
    while (readable && reading_ && !ended()) {
      auto result = connection_->read(buffer);
      if (result.status == io::IoStatus::kWouldBlock) {
        break;
      }
      eof_ = result.status == io::IoStatus::kEof;
      failed_ = result.status == io::IoStatus::kError;
      if (keep_ && result.status == io::IoStatus::kOk) {
        received_.append(buffer.data(), result.bytes);
      }
    }
    update();
  }
  void flush() {
    std::size_t done = 0;
    while (done < out_.size()) {
      auto result = connection_->write(ByteView(out_).substr(done));
      if (result.status != io::IoStatus::kOk) {
        blocked_ += result.status == io::IoStatus::kWouldBlock ? 1 : 0;
        failed_ = failed_ || result.status == io::IoStatus::kError;
        break;
      }
      done += result.bytes;
    }
    out_.erase(0, done);
  }
  void update() { connection_->interest(reading_ && !ended(), !out_.empty() && !failed_); }

  std::unique_ptr<io::Connection> connection_;
  Bytes received_, out_;
  std::size_t blocked_ = 0;
  bool reading_ = true;
  bool keep_ = true;
  bool eof_ = false;
  bool failed_ = false;
};

}  // namespace steeple::tls
