// SPDX-License-Identifier: Apache-2.0

// Any bytes into a server connection, in any pieces: framing, HPACK, gRPC headers and messages,
// health and reflection. The first byte chooses whether a valid preface and SETTINGS go first, so
// that the fuzzer gets past them. Runs on the simulated loop and network.

#include <array>

#include "lib/base/fuzz_seeds.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/raw_client.h"
#include "lib/rpc/server.h"

namespace steeple::rpc {
namespace {

void run(ByteView input) {
  FakeClock clock;
  io::SimScheduler scheduler(clock, input.size());
  io::SimSwitch wires(scheduler);
  io::SimLoop loop(scheduler);
  io::SimWorkers workers(scheduler);
  auto network = wires.join("host");
  Server server({loop, workers, scheduler.random()}, {}, {});
  auto echo = [](CallContext&, ByteView request) { return Result<Bytes>(Bytes(request)); };
  server.unary("/e.E/L", Where::kLoop, echo);
  server.unary("/e.E/W", Where::kWorker, echo);
  server.stream("/e.E/S", [](std::shared_ptr<ServerStream> stream) {
    stream->on_message([raw = stream.get()](ByteView message) {
      raw->pause(message.size() % 2 == 1);
      raw->send(Bytes(message));
      raw->pause(false);
    });
    stream->on_half_close([raw = stream.get()] { raw->finish({}); });
  });
  server.add_health([] { return true; });
  server.add_reflection();
  auto listener =
      network
          ->listen(loop, io::Endpoint::tcp("", 1), {},
                   [&](std::unique_ptr<io::Connection> c) { server.serve(std::move(c)); })
          .take();
  std::unique_ptr<io::Connection> client;
  network->connect(loop, io::Endpoint::tcp("localhost", 1), std::chrono::seconds(1),
                   [&](Result<std::unique_ptr<io::Connection>> c) {
                     client = std::move(c).take();
                     client->on_ready([&](bool, bool) {
                       std::array<char, 4096> in{};
                       if (client->read(in).status != io::IoStatus::kOk) {
                         client->interest(false, false);
                       }
                     });
                     client->interest(true, false);
                   });
  scheduler.run_for(std::chrono::seconds(1));
  Bytes all;
  if (!input.empty() && input[0] % 2 == 0) {
    all = testing::kPreface;
    for (const char* path : {"/e.E/L", "/e.E/W", "/e.E/S"}) {
      static constexpr std::string_view kPaths = "LWS";
      auto index = static_cast<std::uint32_t>(kPaths.find(path[5]));
      all += testing::headers_frame(index * 2 + 1, testing::request_fields(path), false);
    }
    input.remove_prefix(1);
  }
  all.append(input);
  while (!all.empty()) {
    io::IoResult put = client->write(all);
    if (put.status == io::IoStatus::kError) {
      break;
    }
    all.erase(0, put.bytes);
    scheduler.run_for(std::chrono::milliseconds(10));
  }
  scheduler.run_for(std::chrono::seconds(2));
  client.reset();
  scheduler.run_for(std::chrono::minutes(1));
  CHECK(server.connection_count() == 0);
}

}  // namespace
}  // namespace steeple::rpc

std::vector<std::string> steeple::fuzz_seeds() {
  using namespace rpc::testing;
  const std::string behind(1, '\0');  // three calls are open: 1 unary, 3 on a worker, 5 a stream
  std::string resets = behind;
  for (std::uint32_t id = 7; id < 40; id += 2) {
    resets += headers_frame(id, request_fields("/e.E/W"), false) + rst_frame(id, NGHTTP2_CANCEL);
  }
  return {behind + data_frame(1, message("a"), true) + data_frame(3, message("b"), true) +
              data_frame(5, message("c") + message("de"), true),
          behind + headers_frame(7, request_fields("/grpc.health.v1.Health/Watch"), false) +
              data_frame(7, message(""), true),
          behind +
              headers_frame(
                  7, request_fields("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
                  false) +
              data_frame(7, message(std::string("\x3a\0", 2)), true),
          behind +
              headers_frame(7,
                            request_fields("/e.E/L", {{"grpc-timeout", "1S"},
                                                      {"grpc-encoding", "gzip"},
                                                      {"raw-bin", "AAEC"}}),
                            false) +
              data_frame(7, message("x", 1), true),
          behind + frame(NGHTTP2_PING, 0, 0, "12345678") +
              frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4\0\0\1\0\0\1\0\0\0\0", 12)) +
              frame(NGHTTP2_WINDOW_UPDATE, 0, 5, be32(1000)) +
              frame(NGHTTP2_PRIORITY, 0, 9, std::string(5, '\0')) +
              frame(NGHTTP2_GOAWAY, 0, 0, be32(5) + be32(0)),
          behind + frame(NGHTTP2_HEADERS, 0, 7, header_block(request_fields("/e.E/L"))) +
              frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 7, header_block({{"a", "b"}})),
          resets,
          "\1" + kPreface + headers_frame(1, request_fields("/e.E/L"), false) +
              data_frame(1, message("x"), true),
          "\1GET / HTTP/1.1\r\nHost: x\r\n\r\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size <= 1 << 16) {
    steeple::rpc::run({reinterpret_cast<const char*>(data), size});
  }
  return 0;
}
