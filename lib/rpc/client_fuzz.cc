// SPDX-License-Identifier: Apache-2.0

// Any bytes of a server into a client's connection: framing, HPACK, gRPC headers, messages and
// trailers, GOAWAY and resets. One unary call and one stream wait for them. Whatever comes, each
// call ends once, at its deadline at the latest, and nothing is left. The first byte chooses
// whether valid SETTINGS go first. Runs on the simulated loop and network.

#include <array>

#include "lib/base/fuzz_seeds.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/rpc/client.h"
#include "lib/rpc/raw_client.h"

namespace steeple::rpc {
namespace {

constexpr auto kDeadline = std::chrono::seconds(5);

// Reads and forgets; says what it is given, at every connection.
class HostileServer {
 public:
  HostileServer(io::Network& network, io::Loop& loop, Bytes answer) : answer_(std::move(answer)) {
    listener_ = network
                    .listen(loop, io::Endpoint::tcp("", 1), {},
                            [this](std::unique_ptr<io::Connection> c) { accept(std::move(c)); })
                    .take();
  }

 private:
  struct Speaker {
    std::unique_ptr<io::Connection> connection;
    std::size_t said = 0;
    bool ended = false;
  };

  void accept(std::unique_ptr<io::Connection> connection) {
    Speaker* speaker = speakers_.emplace_back(std::make_unique<Speaker>()).get();
    speaker->connection = std::move(connection);
    speaker->connection->on_ready([this, speaker](bool, bool) { turn(*speaker); });
    speaker->connection->interest(true, true);
  }
  void turn(Speaker& speaker) {
    std::array<char, 4096> in{};
    auto got = speaker.connection->read(in);
    speaker.ended = got.status == io::IoStatus::kEof || got.status == io::IoStatus::kError;
    if (!speaker.ended && speaker.said < answer_.size()) {
      auto put = speaker.connection->write(ByteView(answer_).substr(speaker.said));
      speaker.said += put.bytes;
      speaker.ended = put.status == io::IoStatus::kError;
    }
    speaker.connection->interest(!speaker.ended, !speaker.ended && speaker.said < answer_.size());
  }

  Bytes answer_;
  std::vector<std::unique_ptr<Speaker>> speakers_;
  std::unique_ptr<io::Listener> listener_;
};

void run(ByteView input) {
  FakeClock clock;
  io::SimScheduler scheduler(clock, input.size());
  io::SimSwitch wires(scheduler);
  io::SimLoop loop(scheduler);
  auto network = wires.join("host");
  Bytes answer;
  if (!input.empty() && input[0] % 2 == 0) {
    answer = testing::frame(NGHTTP2_SETTINGS, 0, 0, "") +
             testing::frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "");
    input.remove_prefix(1);
  }
  answer += input;
  {
    HostileServer server(*network, loop, answer);
    Channel channel({loop, *network, nullptr, scheduler.random()},
                    io::Endpoint::tcp("localhost", 1), nullptr,
                    {.keepalive_interval = std::chrono::seconds(1),
                     .keepalive_timeout = std::chrono::seconds(1)});
    int unary_ends = 0;
    int stream_ends = 0;
    CallOptions options;
    options.timeout = kDeadline;
    options.message_bytes_max = 1024;
    auto unary = channel.unary("/e.E/U", "request", options, [&](Result<Bytes> reply) {
      ++unary_ends;
      CHECK(!reply.ok() || reply->size() <= options.message_bytes_max);
    });
    auto stream = channel.stream(
        "/e.E/S", options,
        {.on_message =
             [&](ByteView message) {
               CHECK(stream_ends == 0 && message.size() <= options.message_bytes_max);
             },
         .on_done = [&](Result<void>) { ++stream_ends; }});
    stream->send("request");
    stream->close_send();
    scheduler.run_for(2 * kDeadline);
    CHECK(unary_ends == 1 && stream_ends == 1);
  }
  scheduler.run_for(std::chrono::minutes(1));
  CHECK(wires.connection_count() == 0);
}

std::string response(std::uint32_t stream, const std::string& body, const std::string& status) {
  return testing::headers_frame(stream, {{":status", "200"}, {"content-type", "application/grpc"}},
                                false) +
         testing::data_frame(stream, body, false) +
         testing::headers_frame(stream, {{"grpc-status", status}, {"grpc-message", "no%20way"}},
                                true);
}

}  // namespace
}  // namespace steeple::rpc

std::vector<std::string> steeple::fuzz_seeds() {
  using namespace rpc;
  using namespace rpc::testing;
  const std::string lead(1, '\0');
  const std::string settings = frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4\0\0\1\0", 6));
  return {
      lead + response(1, message("a"), "0") + response(3, message("b") + message("c"), "0"),
      lead + response(1, message(std::string(2000, 'x')), "0") + response(3, "", "5"),
      lead + headers_frame(1, {{":status", "503"}}, true) + rst_frame(3, NGHTTP2_REFUSED_STREAM),
      lead + frame(NGHTTP2_GOAWAY, 0, 0, be32(1) + be32(0)) + response(1, message("a"), "0"),
      lead + frame(NGHTTP2_PING, 0, 0, "12345678") +
          frame(NGHTTP2_WINDOW_UPDATE, 0, 0, be32(1000)) +
          frame(NGHTTP2_PUSH_PROMISE, 4, 1, be32(2)),
      "\1" + settings + response(3, message("z"), "0"),
      "\1HTTP/1.1 400 Bad Request\r\n\r\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size <= 1 << 16) {
    steeple::rpc::run({reinterpret_cast<const char*>(data), size});
  }
  return 0;
}
