// SPDX-License-Identifier: Apache-2.0

// For tests: a real child process that runs one function and then waits for the end of its pipe, so
// that it dies with the test; and a Unix socket that it can connect to.

#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "lib/base/check.h"
#include "lib/io/connection.h"
#include "lib/io/file_descriptor.h"
#include "lib/io/peer_process.h"

namespace steeple::agent {

class FakeChild {
 public:
  // `body` runs in the child and may exec; the parent goes on once it returned or exec'ed.
  explicit FakeChild(const std::function<void()>& body) {
    std::array<int, 2> ready{}, life{};
    CHECK(::pipe2(ready.data(), O_CLOEXEC) == 0 && ::pipe2(life.data(), 0) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::close(life[1]);
      CHECK(::dup2(life[0], STDIN_FILENO) == STDIN_FILENO);
      body();
      ::close(ready[1]);
      char byte = 0;
      while (::read(STDIN_FILENO, &byte, 1) > 0) {
      }
      ::_exit(0);
    }
    ::close(ready[1]);
    ::close(life[0]);
    life_ = io::FileDescriptor(life[1]);
    char byte = 0;
    CHECK(::read(ready[0], &byte, 1) == 0);  // its end is closed by the return or the exec
    ::close(ready[0]);
  }
  ~FakeChild() { kill(); }
  FakeChild(const FakeChild&) = delete;
  FakeChild& operator=(const FakeChild&) = delete;

  pid_t pid() const { return pid_; }
  // Dead and reaped afterwards: the pid is free.
  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
  }
  // Dead but not reaped: a zombie still has its entry in /proc.
  void kill_unreaped() {
    ::kill(pid_, SIGKILL);
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }

 private:
  pid_t pid_ = 0;
  io::FileDescriptor life_;
};

// An abstract Unix socket; children call `connect`, the test `accept`.
class FakeSocket {
 public:
  FakeSocket() {
    std::string name =
        fmt::format("steeple-test-{}-{}", ::getpid(), reinterpret_cast<std::uintptr_t>(this));
    address_.sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), address_.sun_path + 1);
    length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    listener_ = io::FileDescriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(::bind(listener_.get(), raw(), length_) == 0 && ::listen(listener_.get(), 8) == 0);
  }
  // In the child; the socket stays open until it dies, also past an exec.
  void connect() const {
    int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(::connect(fd, raw(), length_) == 0);
  }
  std::shared_ptr<const io::Peer> accept() {
    connection_ = io::FileDescriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    CHECK(connection_.valid());
    auto peer = std::make_shared<io::Peer>();
    peer->process = io::peer_process(connection_.get()).take();
    return peer;
  }

 private:
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&address_); }
  sockaddr_un address_{};
  socklen_t length_ = 0;
  io::FileDescriptor listener_, connection_;
};

}  // namespace steeple::agent
