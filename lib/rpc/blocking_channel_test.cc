// SPDX-License-Identifier: Apache-2.0

// Goal: a command-line tool gets its answer from a call that simply returns. Method: a server on
// another thread, in front of real Unix sockets.

#include "lib/rpc/blocking_channel.h"

#include <grpc/health/v1/health.pb.h>

#include "lib/rpc/testing.h"

namespace steeple::rpc {
namespace {

// A server that runs until the test is over, on the one thread of a pool.
class Background {
 public:
  Background() {
    world_.server.unary("/t.T/Echo", Where::kLoop, [](CallContext&, ByteView request) {
      return Result<Bytes>(Bytes(request));
    });
    world_.server.stream("/t.T/Count", [](std::shared_ptr<ServerStream> stream) {
      stream->on_message([raw = stream.get()](ByteView request) {
        for (int i = 0; i < std::stoi(std::string(request)); ++i) {
          raw->send(std::to_string(i));
        }
        raw->finish({});
      });
    });
    world_.listen();
    thread_ = std::make_unique<io::WorkerPool>(io::WorkerPool::Options{.threads = 1});
    thread_->submit([this] { world_.loop.run(); }).take();
  }
  ~Background() {
    world_.loop.stop();
    thread_.reset();
  }
  io::Endpoint endpoint() const { return world_.endpoint(); }

 private:
  testing::World world_;
  std::unique_ptr<io::WorkerPool> thread_;
};

TEST(BlockingChannel, returns_the_answer) {
  Background server;
  BlockingChannel channel(server.endpoint());
  EXPECT_EQ(*channel.unary("/t.T/Echo", "one"), "one");
  EXPECT_EQ(*channel.unary("/t.T/Echo", "two"), "two");
  EXPECT_EQ(channel.unary("/t.T/Nope", "").error().message, "unknown method Nope for service t.T");
}

TEST(BlockingChannel, iterates_a_stream_to_its_end_or_until_told_to_stop) {
  Background server;
  BlockingChannel channel(server.endpoint());
  int count = 0;
  EXPECT_TRUE(channel.stream("/t.T/Count", "100", {}, [&](ByteView) { return ++count > 0; }).ok());
  EXPECT_EQ(count, 100);
  count = 0;
  EXPECT_TRUE(channel.stream("/t.T/Count", "100", {}, [&](ByteView) { return ++count < 3; }).ok());
  EXPECT_EQ(count, 3);
  EXPECT_EQ(*channel.unary("/t.T/Echo", "still fine"), "still fine");
}

TEST(BlockingChannel, typed_calls_serialise_and_parse) {
  Background server;
  BlockingChannel channel(server.endpoint());
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("x");
  auto same = channel.call<grpc::health::v1::HealthCheckRequest>("/t.T/Echo", request);
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->service(), "x");
}

TEST(BlockingChannel, a_dead_endpoint_is_an_error_not_a_wait) {
  BlockingChannel channel(io::Endpoint::unix_socket("/tmp/steeple-no-such-socket"));
  EXPECT_EQ(channel.unary("/t.T/Echo", "").error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace steeple::rpc
