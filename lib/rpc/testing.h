// SPDX-License-Identifier: Apache-2.0

// For the tests of this folder: a server on a Unix socket in a folder of its own, and a channel to
// it, all on one real loop that each test runs until its condition holds.

#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>

#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/rpc/client.h"
#include "lib/rpc/server.h"

namespace steeple::rpc::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    char name[] = "/tmp/steeple-rpc-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() { ::rmdir(path_.c_str()); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Declared in the order of dependence; destroyed backwards.
struct World {
  explicit World(ServerOptions options = {}, ServerHooks hooks = {})
      : server({loop, workers, system_random()}, options, std::move(hooks)) {}

  void listen() {
    listener = network
                   .listen(loop, endpoint(), {},
                           [this](std::unique_ptr<io::Connection> connection) {
                             server.serve(std::move(connection));
                           })
                   .take();
  }
  io::Endpoint endpoint() const { return io::Endpoint::unix_socket(folder.file("s")); }
  std::unique_ptr<Channel> channel(ChannelOptions options = {}) {
    return std::make_unique<Channel>(Channel::Deps{loop, network, nullptr, system_random()},
                                     endpoint(), nullptr, std::move(options));
  }
  // Runs the loop until the condition holds; a test that waits in vain fails after 10 seconds.
  template <class Condition>
  void until(Condition holds) {
    io::Timer guard(loop);
    bool late = false;
    guard.start(std::chrono::seconds(10), [&] { late = true; });
    while (!holds() && !late) {
      loop.post([this] { loop.stop(); });
      loop.run();
      if (!holds()) {
        io::Timer nap(loop);
        nap.start(std::chrono::microseconds(200), [this] { loop.stop(); });
        loop.run();
      }
    }
    ASSERT_TRUE(holds()) << "waited in vain";
  }
  Result<Bytes> call(Channel& channel, const std::string& method, Bytes request,
                     CallOptions options = {}) {
    std::optional<Result<Bytes>> answer;
    auto handle = channel.unary(method, std::move(request), std::move(options),
                                [&](Result<Bytes> reply) { answer = std::move(reply); });
    until([&] { return answer.has_value(); });
    return answer ? std::move(*answer) : Result<Bytes>(internal("no answer"));
  }

  TemporaryFolder folder;
  io::AsioLoop loop;
  io::SocketNetwork network;
  io::WorkerPool workers;
  Server server;
  std::unique_ptr<io::Listener> listener;
};

}  // namespace steeple::rpc::testing
