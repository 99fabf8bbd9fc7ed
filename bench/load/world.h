// SPDX-License-Identifier: Apache-2.0

// What every measurement stands on: one loop in this process, the real network and TLS, blocking
// calls for preparations, and `drive`, which keeps a number of operations under way and tells what
// they cost the process under test. One thread. A failing operation ends the program: a figure with
// errors in it is no figure.

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/rpc/client.h"
#include "lib/tls/handshake.h"

namespace steeple::bench {

[[noreturn]] void fail(std::string_view what, const Error& error);

class World {
 public:
  World();

  io::AsioLoop& loop() { return loop_; }
  rpc::Channel::Deps deps() { return {loop_, network_, tls_.get(), system_random()}; }
  std::unique_ptr<rpc::Channel> local(const std::string& socket);  // plaintext, Unix socket
  std::unique_ptr<rpc::Channel> secure(const io::Endpoint& to,
                                       std::shared_ptr<const tls::ClientPolicy> policy);
  // Runs the loop until the answer is there.
  Bytes call(rpc::Channel& channel, const std::string& method, Bytes request);
  template <class Response, class Request>
  Response call(rpc::Channel& channel, const std::string& method, const Request& request) {
    Response response;
    if (!response.ParseFromString(call(channel, method, request.SerializeAsString()))) {
      fail(method, internal("the answer does not parse"));
    }
    return response;
  }
  void wait(Duration time);

 private:
  io::AsioLoop loop_;
  io::SocketNetwork network_;
  std::unique_ptr<tls::Handshake> tls_;
};

double micros_since(SteadyTime start);

// What a row of the table is made of. Times in microseconds.
struct Figure {
  std::size_t operations = 0;
  double seconds = 0;             // wall time of all
  double cpu = 0;                 // of the process under test, per operation
  std::vector<double> latencies;  // of each operation
};
// One JSON line for run.py.
void report(std::string_view name, Figure figure);
void report_value(std::string_view name, double value);

using Done = std::function<void()>;
// Begins one operation in a slot; `done` is called on the loop when it has ended well.
using Start = std::function<void(std::size_t slot, Done done)>;
// A tenth of `total` first to warm up, then `total` measured.
Figure drive(World& world, pid_t under_test, std::size_t slots, std::size_t total,
             const Start& start);

}  // namespace steeple::bench
