// SPDX-License-Identifier: Apache-2.0

// Bytes of a client: whatever comes, in whatever pieces, the server answers with HTTP/1.1 or
// closes.

#include <cstddef>
#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/http/server.h"
#include "lib/io/fake_network.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {"1GET /metrics?a=b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
          "1POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
          "1POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
          "1POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
          "1HEAD //../%2e HTTP/1.1\r\nHost: h\r\n\r\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  using namespace std::chrono_literals;
  if (size == 0 || size > 64 * 1024) {
    return 0;
  }
  FakeClock clock;
  io::SimScheduler scheduler(clock, data[0]);
  io::SimSwitch network(scheduler);
  io::SimLoop loop(scheduler);
  auto host = network.join("h");
  http::Server server(loop, {.methods = {"GET", "HEAD", "POST"}});
  server.route("", [](const http::Request& request, http::Respond respond) {
    CHECK(request.path.starts_with('/'));
    respond({.body = request.body});
  });
  CHECK(server.listen(*host, io::Endpoint::tcp("h", 80)).ok());
  std::unique_ptr<io::Connection> client;
  host->connect(loop, io::Endpoint::tcp("h", 80), 1s,
                [&](auto connected) { client = std::move(connected).take(); });
  scheduler.run_while_not([&] { return client != nullptr; }, 1s);
  std::string_view left(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string answer;
  bool closed = false;
  client->on_ready([&](bool, bool) {
    if (auto put = client->write(left); put.status == io::IoStatus::kOk) {
      left.remove_prefix(put.bytes);
    }
    std::array<char, 4096> buffer{};
    auto got = client->read(buffer);
    answer.append(buffer.data(), got.bytes);
    closed = closed || got.status == io::IoStatus::kEof || got.status == io::IoStatus::kError;
    client->interest(!closed, !closed && !left.empty());
  });
  client->interest(true, true);
  scheduler.run_for(60s);
  CHECK(answer.empty() || answer.starts_with("HTTP/1.1 "));
  return 0;
}
