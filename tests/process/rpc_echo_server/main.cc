// SPDX-License-Identifier: Apache-2.0

// A server of lib/rpc for other implementations to judge: `rpc_echo_server unix:PATH` or
// `tcp:HOST:PORT`, options --age-ms N (connection age) and --grace-ms N. Prints "listening WHERE"
// once it does, drains on SIGTERM. One thread runs the loop; unary handlers run on workers.
//
// Methods of steeple.test.echo.v1.Echo; requests are bytes, mostly words of text:
//   Unary, UnaryOnLoop   the request          Fail "CODE TEXT"    that status, with one detail
//   Deadline             milliseconds left, or "none"             Metadata "NAME"  its values, one
//   a line Peer                 "uid gid pid" or the address ServerStream "COUNT SIZE"  so many
//   messages                   Bidi             each message back Collect              after the
//   half-close: how many messages and bytes Hang                 nothing, until the client leaves
//   Hanging          how many Hang calls live

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "lib/base/random.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/rpc/server.h"

namespace steeple {
namespace {

constexpr std::size_t kBufferedMax = std::size_t{1} << 20;  // of one stream, before it waits
constexpr Duration kPumpPause = std::chrono::milliseconds(1);

struct Arguments {
  io::Endpoint endpoint;
  rpc::ServerOptions options;
  Duration grace = std::chrono::seconds(10);
};

Result<io::Endpoint> parse_endpoint(const std::string& text) {
  if (text.starts_with("unix:")) {
    return io::Endpoint::unix_socket(text.substr(5));
  }
  const std::size_t colon = text.rfind(':');
  if (!text.starts_with("tcp:") || colon < 5) {
    return invalid_argument("want unix:PATH or tcp:HOST:PORT, not \"" + text + "\"");
  }
  const int port = std::atoi(text.c_str() + colon + 1);
  return io::Endpoint::tcp(text.substr(4, colon - 4), static_cast<std::uint16_t>(port));
}

Result<Arguments> parse(const std::vector<std::string>& words) {
  if (words.empty()) {
    return invalid_argument("where to listen?");
  }
  Arguments arguments;
  arguments.endpoint = TRY(parse_endpoint(words[0]));
  for (std::size_t i = 1; i + 1 < words.size(); i += 2) {
    const Duration value = std::chrono::milliseconds(std::atoi(words[i + 1].c_str()));
    if (words[i] == "--age-ms") {
      arguments.options.connection_age_max = value;
    } else if (words[i] == "--grace-ms") {
      arguments.options.connection_age_grace = value;
      arguments.grace = value;
    } else {
      return invalid_argument("unknown option \"" + words[i] + "\"");
    }
  }
  return arguments;
}

// Sends `left` messages, no faster than the peer takes them. Owned by the stream's close handler.
class Pump : public std::enable_shared_from_this<Pump> {
 public:
  Pump(std::shared_ptr<rpc::ServerStream> stream, std::size_t count, std::size_t size)
      : stream_(std::move(stream)), timer_(stream_->loop()), left_(count), size_(size) {}

  void run() {
    while (left_ > 0 && stream_ != nullptr && stream_->buffered_bytes() < kBufferedMax) {
      --left_;
      stream_->send(Bytes(size_, 'x'));
    }
    if (stream_ == nullptr) {
      return;
    }
    if (left_ == 0) {
      stream_->finish({});
      return;
    }
    timer_.start(kPumpPause, [self = weak_from_this()] {
      if (auto pump = self.lock()) {
        pump->run();
      }
    });
  }
  void closed() {
    timer_.cancel();
    stream_ = nullptr;
  }

 private:
  std::shared_ptr<rpc::ServerStream> stream_;
  io::Timer timer_;
  std::size_t left_;
  std::size_t size_;
};

std::string method(const char* name) { return std::string("/steeple.test.echo.v1.Echo/") + name; }

Result<Bytes> fail(rpc::CallContext&, ByteView request) {
  const std::size_t space = request.find(' ');
  const int code = std::atoi(std::string(request.substr(0, space)).c_str());
  Error error{static_cast<Code>(code),
              space == ByteView::npos ? "" : std::string(request.substr(space + 1))};
  // A google.protobuf.StringValue "detail".
  error.details.push_back(
      {"type.googleapis.com/google.protobuf.StringValue", std::string("\x0a\x06") + "detail"});
  return error;
}

Result<Bytes> deadline(rpc::CallContext& call, ByteView) {
  if (call.deadline == SteadyTime::max()) {
    return Bytes("none");
  }
  const Duration left = call.deadline - system_clock().steady();
  return fmt::format("{}", std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
}

Result<Bytes> metadata(rpc::CallContext& call, ByteView request) {
  Bytes lines;
  for (const std::string& value : call.values(request)) {
    lines += value + "\n";
  }
  return lines;
}

Result<Bytes> peer(rpc::CallContext& call, ByteView) {
  if (call.peer->process) {
    return fmt::format("{} {} {}", call.peer->process->uid, call.peer->process->gid,
                       call.peer->process->pid);
  }
  return call.peer->address;
}

void add_unary_methods(rpc::Server& server) {
  const auto echo = [](rpc::CallContext&, ByteView request) -> Result<Bytes> {
    return Bytes(request);
  };
  server.unary(method("Unary"), rpc::Where::kWorker, echo);
  server.unary(method("UnaryOnLoop"), rpc::Where::kLoop, echo);
  server.unary(method("Fail"), rpc::Where::kWorker, fail);
  server.unary(method("Deadline"), rpc::Where::kWorker, deadline);
  server.unary(method("Metadata"), rpc::Where::kLoop, metadata);
  server.unary(method("Peer"), rpc::Where::kLoop, peer);
}

void server_stream(const std::shared_ptr<rpc::ServerStream>& stream) {
  stream->on_message([stream_weak = std::weak_ptr(stream)](ByteView request) {
    auto live = stream_weak.lock();
    if (live == nullptr) {
      return;
    }
    std::istringstream words{std::string(request)};
    std::size_t count = 0;
    std::size_t size = 0;
    words >> count >> size;
    auto pump = std::make_shared<Pump>(live, count, size);
    live->on_closed([pump] { pump->closed(); });
    pump->run();
  });
}

void bidi(const std::shared_ptr<rpc::ServerStream>& stream) {
  std::weak_ptr weak(stream);
  stream->on_message([weak](ByteView message) {
    if (auto live = weak.lock()) {
      live->send(Bytes(message));
    }
  });
  stream->on_half_close([weak] {
    if (auto live = weak.lock()) {
      live->finish({});
    }
  });
}

void collect(const std::shared_ptr<rpc::ServerStream>& stream) {
  struct Sum {
    std::size_t messages = 0;
    std::size_t bytes = 0;
  };
  auto sum = std::make_shared<Sum>();
  std::weak_ptr weak(stream);
  stream->on_message([sum](ByteView message) {
    ++sum->messages;
    sum->bytes += message.size();
  });
  stream->on_half_close([weak, sum] {
    if (auto live = weak.lock()) {
      live->send(fmt::format("{} {}", sum->messages, sum->bytes));
      live->finish({});
    }
  });
}

void add_stream_methods(rpc::Server& server, const std::shared_ptr<int>& hanging) {
  server.stream(method("ServerStream"), server_stream);
  server.stream(method("Bidi"), bidi);
  server.stream(method("Collect"), collect);
  // The counter is the loop's: streams and on-loop handlers run there.
  server.stream(method("Hang"), [hanging](const std::shared_ptr<rpc::ServerStream>& stream) {
    ++*hanging;
    stream->on_closed([hanging] { --*hanging; });
  });
  server.unary(method("Hanging"), rpc::Where::kLoop,
               [hanging](rpc::CallContext&, ByteView) -> Result<Bytes> {
                 return fmt::format("{}", *hanging);
               });
}

Result<void> run(const Arguments& arguments) {
  io::AsioLoop loop;
  io::WorkerPool workers;
  io::SocketNetwork network;
  rpc::Server server({loop, workers, system_random()}, arguments.options, {});
  add_unary_methods(server);
  add_stream_methods(server, std::make_shared<int>(0));
  server.add_health([] { return true; });
  server.add_reflection();
  auto listener = TRY(network.listen(loop, arguments.endpoint, {},
                                     [&server](std::unique_ptr<io::Connection> connection) {
                                       server.serve(std::move(connection));
                                     }));
  fmt::print("listening {}\n", listener->endpoint().text());
  std::fflush(stdout);
  loop.on_signals({SIGTERM, SIGINT}, [&](int) {
    listener.reset();
    server.shutdown(arguments.grace, [&loop] { loop.stop(); });
  });
  loop.run();
  return {};
}

}  // namespace
}  // namespace steeple

int main(int argc, char** argv) {
  auto arguments = steeple::parse(std::vector<std::string>(argv + 1, argv + argc));
  const steeple::Result<void> done =
      arguments.ok() ? steeple::run(*arguments) : steeple::Result<void>(arguments.error());
  if (!done.ok()) {
    fmt::print(stderr, "{}\n", done.error().message);
    return 1;
  }
  return 0;
}
