// SPDX-License-Identifier: Apache-2.0

// Goal: whatever a client does on the wire, the server gives the defined refusal, keeps its memory
// bounded and serves the others. Method: frames written by hand on Unix sockets.

#include <gmock/gmock.h>

#include "lib/io/directory.h"
#include "lib/rpc/raw_client.h"
#include "lib/rpc/testing.h"

namespace steeple::rpc {
namespace {

using testing::data_frame;
using testing::frame;
using testing::headers_frame;
using testing::kPreface;
using testing::message;
using testing::RawClient;
using testing::request_fields;
using testing::rst_frame;
using testing::World;

constexpr auto kEcho = "/test.Echo/Echo";

// Sanitizers keep freed memory for a while to find its later use; the bounds then allow for that.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kKeptBySanitizerKib = 600'000;
#else
constexpr double kKeptBySanitizerKib = 0;
#endif

double rss_kib() {
  Bytes status = io::read_file("/proc/self/status", 65536).take();
  return std::atof(status.c_str() + status.find("VmRSS:") + 6);
}

class Abuse : public ::testing::Test {
 protected:
  explicit Abuse(ServerOptions options = {}) : world(options) {
    world.server.unary(kEcho, Where::kLoop, [this](CallContext& call, ByteView request) {
      last_metadata = call.metadata;
      ++handled;
      return Result<Bytes>(Bytes(request));
    });
    world.server.unary("/test.Echo/Worker", Where::kWorker, [](CallContext&, ByteView request) {
      return Result<Bytes>(Bytes(request));
    });
    world.server.stream("/test.Echo/Open", [this](std::shared_ptr<ServerStream> stream) {
      stream->on_closed([this] { ++closed_streams; });
      streams.push_back(std::move(stream));
    });
    world.listen();
  }
  void connect(RawClient& client, bool preface = true) {
    world.network.connect(world.loop, world.endpoint(), std::chrono::seconds(5),
                          [&](Result<std::unique_ptr<io::Connection>> connection) {
                            client.use(std::move(connection).take());
                          });
    world.until([&] { return client.connected(); });
    if (preface) {
      client.send(kPreface);
    }
  }
  // Waits until the stream was answered with a grpc-status.
  std::string status_of(RawClient& client, std::uint32_t stream) {
    world.until([&] { return !client.field(stream, "grpc-status").empty(); });
    return client.field(stream, "grpc-status");
  }
  void expect_others_are_served() {
    auto channel = world.channel();
    Result<Bytes> answer = world.call(*channel, kEcho, "still there?");
    ASSERT_TRUE(answer.ok()) << answer.error().message;
  }

  std::vector<std::shared_ptr<ServerStream>> streams;
  int closed_streams = 0;
  int handled = 0;
  Metadata last_metadata;
  World world;
};

TEST_F(Abuse, a_request_in_single_bytes_is_understood) {
  RawClient client;
  client.answer_settings = false;  // it would land in the middle of a frame
  connect(client, false);
  std::string all = kPreface + headers_frame(1, request_fields(kEcho), false) +
                    data_frame(1, message("hello"), true);
  for (std::size_t i = 0; i < all.size(); ++i) {
    client.send(all.substr(i, 1));
    world.until([&] { return client.all_sent(); });
  }
  EXPECT_EQ(status_of(client, 1), "0");
  EXPECT_EQ(client.body(1), message("hello"));
}

TEST_F(Abuse, a_message_split_over_many_frames_is_put_together) {
  RawClient client;
  connect(client);
  std::string content = message("split into pieces");
  std::string frames = headers_frame(1, request_fields(kEcho), false);
  for (char byte : content) {
    frames += data_frame(1, std::string(1, byte), false);
  }
  client.send(frames + data_frame(1, "", true));
  EXPECT_EQ(status_of(client, 1), "0");
  EXPECT_EQ(client.body(1), content);
}

// transport.md: a first version hung a Go client that waited before closing its half.
TEST_F(Abuse, an_unknown_method_is_refused_at_its_headers_and_the_stream_reset) {
  RawClient client;
  connect(client);
  client.send(headers_frame(1, request_fields("/test.Nope/Nope"), false));
  EXPECT_EQ(status_of(client, 1), "12");
  EXPECT_EQ(client.field(1, "grpc-message"), "unknown service test.Nope");
  world.until([&] { return !client.frames(NGHTTP2_RST_STREAM, 1).empty(); });
  EXPECT_EQ(client.frames(NGHTTP2_RST_STREAM, 1)[0].payload, testing::be32(NGHTTP2_NO_ERROR));
  EXPECT_EQ(client.frames(NGHTTP2_HEADERS, 1).size(), 1U) << "trailers only";
  for (const char* path : {"nope", "/nope", "*"}) {
    RawClient other;
    connect(other);
    other.send(headers_frame(1, request_fields(path), false));
    world.until([&] {
      return other.ended() || !other.field(1, "grpc-message").empty() ||
             !other.frames(NGHTTP2_RST_STREAM, 1).empty();
    });
    if (!other.field(1, "grpc-message").empty()) {
      EXPECT_EQ(other.field(1, "grpc-message"), fmt::format("malformed method name: \"{}\"", path));
    }
  }
}

TEST_F(Abuse, what_is_not_grpc_gets_an_http_status_as_from_grpc_go) {
  struct Case {
    testing::Fields fields;
    std::string http;
    std::string grpc;
    std::string text;
  };
  auto with = [](const std::string& name, const std::string& value) {
    testing::Fields fields = request_fields(kEcho);
    for (auto& field : fields) {
      if (field.first == name) {
        field.second = value;
        return fields;
      }
    }
    fields.emplace_back(name, value);
    return fields;
  };
  std::vector<Case> cases = {
      {with("content-type", "application/json"), "415", "3",
       "invalid gRPC request content-type \"application/json\""},
      {with("content-type", "application/grpcx"), "415", "3",
       "invalid gRPC request content-type \"application/grpcx\""},
      {with(":method", "GET"), "405", "13",
       "Received a HEADERS frame with :method \"GET\" which should be POST"},
      {with("grpc-timeout", "1x"), "400", "13",
       "malformed grpc-timeout: transport: timeout unit is not recognized: \"1x\""},
      {with("grpc-timeout", "S"), "400", "13",
       "malformed grpc-timeout: transport: timeout string is too short: \"S\""},
      {with("grpc-timeout", "1234567890S"), "400", "13",
       "malformed grpc-timeout: transport: timeout string is too long: \"1234567890S\""},
  };
  for (const Case& each : cases) {
    RawClient client;
    connect(client);
    client.send(headers_frame(1, each.fields, false));
    EXPECT_EQ(status_of(client, 1), each.grpc);
    EXPECT_EQ(client.field(1, ":status"), each.http);
    EXPECT_EQ(client.field(1, "grpc-message"), each.text);
  }
  EXPECT_EQ(handled, 0);
  for (const char* good : {"application/grpc+proto", "application/grpc;charset=utf-8"}) {
    RawClient client;
    connect(client);
    client.send(headers_frame(1, with("content-type", good), false) +
                data_frame(1, message("x"), true));
    EXPECT_EQ(status_of(client, 1), "0") << good;
  }
}

TEST_F(Abuse, compression_is_unimplemented) {
  RawClient client;
  connect(client);
  client.send(headers_frame(1, request_fields(kEcho), false) +
              data_frame(1, message("x", 1), true));
  EXPECT_EQ(status_of(client, 1), "12");
  client.send(headers_frame(3, request_fields(kEcho, {{"grpc-encoding", "gzip"}}), false) +
              data_frame(3, message("x", 1), true));
  EXPECT_EQ(status_of(client, 3), "12");
  EXPECT_EQ(client.field(3, "grpc-message"),
            "grpc: Decompressor is not installed for grpc-encoding \"gzip\"");
  client.send(headers_frame(5, request_fields(kEcho, {{"grpc-encoding", "identity"}}), false) +
              data_frame(5, message("x"), true));
  EXPECT_EQ(status_of(client, 5), "0");
}

TEST_F(Abuse, an_announced_oversize_is_refused_before_a_byte_of_it_arrives) {
  RawClient client;
  connect(client);
  client.send(headers_frame(1, request_fields(kEcho), false) +
              data_frame(1, std::string("\0\xff\xff\xff\xff", 5), false));
  EXPECT_EQ(status_of(client, 1), "8");
  EXPECT_EQ(client.field(1, "grpc-message"),
            "grpc: received message larger than max (4294967295 vs. 4194304)");
}

TEST_F(Abuse, unary_calls_need_exactly_one_message) {
  RawClient client;
  connect(client);
  client.send(headers_frame(1, request_fields(kEcho), true));
  EXPECT_EQ(status_of(client, 1), "13");
  client.send(headers_frame(3, request_fields(kEcho), false) +
              data_frame(3, message("a") + message("b"), true));
  EXPECT_EQ(status_of(client, 3), "13");
  EXPECT_EQ(handled, 0);
}

TEST_F(Abuse, headers_over_sixteen_kibibytes_reset_their_stream_only) {
  RawClient client;
  connect(client);
  client.send(
      headers_frame(1, request_fields(kEcho, {{"x-long", std::string(15000, 'x')}}), false) +
      data_frame(1, message("x"), true));
  EXPECT_EQ(status_of(client, 1), "0");
  client.send(headers_frame(
      3, request_fields(kEcho, {{"a", std::string(9000, 'x')}, {"b", std::string(7100, 'x')}}),
      false));
  world.until([&] { return !client.frames(NGHTTP2_RST_STREAM, 3).empty(); });
  client.send(headers_frame(5, request_fields(kEcho), false) + data_frame(5, message("x"), true));
  EXPECT_EQ(status_of(client, 5), "0");
}

TEST_F(Abuse, metadata_arrives_with_binary_values_decoded_and_repeats_kept) {
  RawClient client;
  connect(client);
  client.send(headers_frame(1,
                            request_fields(kEcho, {{"workload.spiffe.io", "true"},
                                                   {"workload.spiffe.io", "false"},
                                                   {"raw-bin", "AAEC"},
                                                   {"bare-bin", "AAE"}}),
                            false) +
              data_frame(1, message("x"), true));
  EXPECT_EQ(status_of(client, 1), "0");
  CallContext context;
  context.metadata = last_metadata;
  EXPECT_THAT(context.values("workload.spiffe.io"), ::testing::ElementsAre("true", "false"));
  EXPECT_THAT(context.values("raw-bin"), ::testing::ElementsAre(std::string("\0\1\2", 3)));
  EXPECT_THAT(context.values("bare-bin"), ::testing::ElementsAre(std::string("\0\1", 2)));
}

TEST_F(Abuse, an_expired_deadline_is_answered_without_the_handler) {
  RawClient client;
  connect(client);
  client.send(headers_frame(1, request_fields(kEcho, {{"grpc-timeout", "0n"}}), false) +
              data_frame(1, message("x"), true));
  EXPECT_EQ(status_of(client, 1), "4");
  EXPECT_EQ(handled, 0);
}

// CVE-2023-44487. gRPC C++ 1.51 took 3.8 GB and 54 s of CPU for this.
TEST_F(Abuse, two_hundred_thousand_rapid_resets_end_one_connection_and_no_more) {
  double before = rss_kib();
  RawClient client;
  connect(client);
  const std::string block = testing::header_block(request_fields("/test.Echo/Worker"));
  std::string flood;
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    flood += frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, i * 2 + 1, block) +
             data_frame(i * 2 + 1, message("x"), true) + rst_frame(i * 2 + 1, NGHTTP2_CANCEL);
  }
  double held = static_cast<double>(flood.size()) / 1024;
  client.send(flood);
  world.until([&] { return client.ended(); });
  world.until([&] { return world.server.connection_count() == 0; });
  EXPECT_LT(client.sent_bytes(), flood.size() / 10) << "closed early";
  EXPECT_LT(rss_kib() - before - 3 * held, 20'000 + kKeptBySanitizerKib);
  expect_others_are_served();
}

TEST_F(Abuse, pings_and_settings_without_reading_the_answers_stay_bounded) {
  for (const std::string& one :
       {frame(NGHTTP2_PING, 0, 0, "12345678"), frame(NGHTTP2_SETTINGS, 0, 0, "")}) {
    RawClient client;
    connect(client);
    world.until([&] { return client.all_sent(); });
    client.stop_reading();
    double before = rss_kib();
    // Straight into the socket, which stops taking it when the server stops reading.
    std::string flood;
    for (int i = 0; i < 200'000; ++i) {
      flood += one;
    }
    client.send(flood);
    world.until([&] { return client.ended() || client.all_sent(); });
    EXPECT_LT(rss_kib() - before, 30'000 + kKeptBySanitizerKib);
  }
  expect_others_are_served();
}

TEST_F(Abuse, a_client_that_takes_no_answers_is_not_read_from_any_more) {
  RawClient client;
  connect(client);
  std::string big(60'000, 'x');
  // A huge window, so that only the socket holds the answers back.
  client.send(
      frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4", 2) + testing::be32((1U << 31) - 1)) +
      frame(NGHTTP2_WINDOW_UPDATE, 0, 0, testing::be32((1U << 31) - 1 - 65535)));
  world.until([&] { return client.all_sent(); });
  client.stop_reading();
  int answered_before = handled;
  std::string all;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    all += headers_frame(i * 2 + 1, request_fields(kEcho), false);
    for (std::size_t at = 0; at < big.size() + 5; at += 16000) {
      std::string body = message(big);
      all += data_frame(i * 2 + 1, body.substr(at, 16000), at + 16000 >= body.size());
    }
  }
  client.send(all);
  client.stop_reading();
  bool passed = false;
  io::Timer wait(world.loop);
  // Write without reading: only writability is of interest.
  wait.start(std::chrono::milliseconds(100), [&] { passed = true; });
  world.until([&] { return passed; });
  EXPECT_LT(handled - answered_before, 2000);
  client.close();
  world.until([&] { return world.server.connection_count() == 0; });
  expect_others_are_served();
}

TEST_F(Abuse, half_sent_messages_on_many_streams_stop_at_the_connections_limit) {
  RawClient client;
  connect(client);
  // The windows of our SETTINGS hold once they are acknowledged.
  world.until([&] { return !client.frames(NGHTTP2_SETTINGS, 0).empty() && client.all_sent(); });
  // Each stream announces 4 MiB and sends less than its window; together they exceed 16 MiB.
  std::string piece(16'000, 'x');
  int refused = 0;
  for (std::uint32_t i = 0; i < 30; ++i) {
    std::uint32_t id = i * 2 + 1;
    client.send(headers_frame(id, request_fields(kEcho), false) +
                data_frame(id, std::string("\0\0\x40\0\0", 5), false));
    for (int k = 0; k < 60; ++k) {
      client.send(data_frame(id, piece, false));
    }
    world.until([&] { return client.all_sent(); });
  }
  bool passed = false;
  io::Timer wait(world.loop);
  wait.start(std::chrono::milliseconds(50), [&] { passed = true; });
  world.until([&] { return passed; });
  for (std::uint32_t i = 0; i < 30; ++i) {
    refused += client.field(i * 2 + 1, "grpc-status") == "8" ? 1 : 0;
  }
  EXPECT_GT(refused, 5);
  EXPECT_FALSE(client.ended());
  client.send(headers_frame(101, request_fields(kEcho), false) +
              data_frame(101, message("small"), true));
  EXPECT_EQ(status_of(client, 101), "0");
}

TEST_F(Abuse, garbage_instead_of_a_preface_ends_the_connection) {
  RawClient client;
  connect(client, false);
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  world.until([&] { return client.ended() && world.server.connection_count() == 0; });
  EXPECT_TRUE(client.ended());
}

TEST_F(Abuse, requests_before_an_abrupt_end_are_handled) {
  RawClient client;
  connect(client);
  client.send(headers_frame(1, request_fields(kEcho), false) + data_frame(1, message("x"), true));
  world.until([&] { return client.all_sent(); });
  client.close();
  world.until([&] { return world.server.connection_count() == 0; });
  EXPECT_EQ(handled, 1);
}

class Impatient : public Abuse {
 protected:
  Impatient()
      : Abuse({.preface_timeout = std::chrono::milliseconds(30),
               .connections_max = 8,
               .connections_per_uid_max = 5}) {}
};

TEST_F(Impatient, a_slow_preface_runs_into_its_timeout) {
  RawClient silent;
  connect(silent, false);
  RawClient slow;
  connect(slow, false);
  slow.send(kPreface.substr(0, 20));
  world.until([&] { return silent.ended() && slow.ended(); });
  EXPECT_EQ(world.server.connection_count(), 0U);
}

TEST_F(Impatient, one_user_gets_no_more_than_its_share_of_connections) {
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<RawClient>());
    connect(*clients.back());
  }
  world.until([&] { return clients[5]->ended(); });
  EXPECT_EQ(world.server.connection_count(), 5U);
  clients[0]->close();
  world.until([&] { return world.server.connection_count() == 4; });
  RawClient again;
  connect(again);
  again.send(headers_frame(1, request_fields(kEcho), false) + data_frame(1, message("x"), true));
  EXPECT_EQ(status_of(again, 1), "0");
}

TEST_F(Abuse, two_thousand_idle_connections_are_held_and_given_back) {
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 2000; ++i) {
    clients.push_back(std::make_unique<RawClient>());
    world.network.connect(
        world.loop, world.endpoint(), std::chrono::seconds(5),
        [&, i](Result<std::unique_ptr<io::Connection>> connection) {
          RawClient& client = *clients[static_cast<std::size_t>(i)];
          client.use(std::move(connection).take());
          client.send(kPreface + headers_frame(1, request_fields("/test.Echo/Open"), false));
        });
  }
  world.until([&] { return streams.size() == 2000; });
  expect_others_are_served();
  clients.clear();
  world.until([&] { return world.server.connection_count() <= 1 && closed_streams == 2000; });
}

}  // namespace
}  // namespace steeple::rpc
