// SPDX-License-Identifier: Apache-2.0

// Goal: connections age, drain, break and come back without a call being lost or run twice.
// Method: server and client in one process on simulated loops, an in-memory network and an injected
// clock, so that hours pass in milliseconds and a seed replays.

#include <gmock/gmock.h>
#include <grpc/health/v1/health.pb.h>
#include <grpc/reflection/v1/reflection.pb.h>
#include <grpc/reflection/v1alpha/reflection.pb.h>

#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/raw_client.h"
#include "lib/rpc/typed.h"

namespace steeple::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::RawClient;

constexpr auto kEcho = "/test.Echo/Echo";
constexpr auto kOpen = "/test.Echo/Open";

class Life : public ::testing::Test {
 protected:
  explicit Life(std::uint64_t seed = 11) : scheduler(clock, seed), wires(scheduler) {}

  void start_server(ServerOptions options = {}) {
    server = std::make_unique<Server>(Server::Deps{server_loop, workers, scheduler.random()},
                                      options, ServerHooks{});
    server->unary(kEcho, Where::kWorker, [this](CallContext&, ByteView request) {
      ++handled;
      return Result<Bytes>(Bytes(request));
    });
    server->stream(kOpen, [this](std::shared_ptr<ServerStream> stream) {
      stream->on_closed([this] { ++closed; });
      stream->send("welcome");
      streams.push_back(std::move(stream));
    });
    server->add_health([this] { return healthy; });
    server->add_reflection();
    listener = server_network
                   ->listen(server_loop, io::Endpoint::tcp("", 8081), {},
                            [this](std::unique_ptr<io::Connection> c) {
                              ++accepted;
                              server->serve(std::move(c));
                            })
                   .take();
  }
  void stop_server() {
    listener.reset();
    streams.clear();
    server.reset();
  }
  std::unique_ptr<Channel> channel(ChannelOptions options = {}) {
    return std::make_unique<Channel>(
        Channel::Deps{client_loop, *client_network, nullptr, scheduler.random()},
        io::Endpoint::tcp("server", 8081), nullptr, std::move(options));
  }
  bool until(const std::function<bool()>& holds, Duration at_most = seconds(60)) {
    return scheduler.run_while_not(holds, at_most);
  }
  Result<Bytes> call(Channel& channel, const char* method, Bytes request,
                     CallOptions options = {}) {
    std::optional<Result<Bytes>> answer;
    auto handle = channel.unary(method, std::move(request), std::move(options),
                                [&](Result<Bytes> reply) { answer = std::move(reply); });
    EXPECT_TRUE(until([&] { return answer.has_value(); }));
    return answer ? std::move(*answer) : Result<Bytes>(internal("no answer"));
  }

  struct Watched {
    StreamReply reply() {
      return {.on_message = [this](ByteView message) { messages.emplace_back(message); },
              .on_done = [this](Result<void> result) { status = std::move(result); }};
    }
    std::vector<Bytes> messages;
    std::optional<Result<void>> status;
  };

  FakeClock clock;
  io::SimScheduler scheduler;
  io::SimSwitch wires;
  io::SimLoop server_loop{scheduler};
  io::SimLoop client_loop{scheduler};
  io::SimWorkers workers{scheduler};
  std::unique_ptr<io::Network> server_network = wires.join("server");
  std::unique_ptr<io::Network> client_network = wires.join("client");
  std::unique_ptr<Server> server;
  std::unique_ptr<io::Listener> listener;
  std::vector<std::shared_ptr<ServerStream>> streams;
  int accepted = 0;
  int handled = 0;
  int closed = 0;
  bool healthy = true;
};

TEST_F(Life, calls_pass_over_the_simulated_network_in_pieces_and_any_order) {
  start_server();
  auto client = channel();
  std::vector<std::unique_ptr<ClientCall>> calls;
  int good = 0;
  for (int i = 0; i < 300; ++i) {
    calls.push_back(client->unary(kEcho, std::to_string(i), {}, [&good, i](Result<Bytes> reply) {
      good += reply.ok() && *reply == std::to_string(i) ? 1 : 0;
    }));
  }
  EXPECT_TRUE(until([&] { return good == 300; }));
  EXPECT_EQ(handled, 300);
}

TEST_F(Life, an_aged_connection_is_replaced_and_its_running_stream_may_finish) {
  start_server({.connection_age_max = minutes(3), .connection_age_grace = minutes(10)});
  auto client = channel();
  Watched seen;
  auto open = client->stream(kOpen, {}, seen.reply());
  ASSERT_TRUE(until([&] { return seen.messages.size() == 1; }));
  ASSERT_EQ(accepted, 1);
  // Jitter is at most a tenth.
  scheduler.run_for(seconds(200));
  EXPECT_TRUE(call(*client, kEcho, "x").ok());
  EXPECT_EQ(accepted, 2) << "new calls go to a new connection";
  EXPECT_FALSE(seen.status) << "the old stream goes on";
  streams[0]->send("still here");
  streams[0]->finish({});
  EXPECT_TRUE(until([&] { return seen.status.has_value(); }));
  EXPECT_THAT(seen.messages, ::testing::ElementsAre("welcome", "still here"));
  EXPECT_TRUE(seen.status->ok());
  EXPECT_TRUE(until([&] { return server->connection_count() == 1; }));
}

TEST_F(Life, what_outlives_the_grace_is_cut_off) {
  start_server({.connection_age_max = minutes(3), .connection_age_grace = seconds(10)});
  auto client = channel();
  Watched seen;
  auto open = client->stream(kOpen, {}, seen.reply());
  ASSERT_TRUE(until([&] { return seen.status.has_value(); }, minutes(10)));
  EXPECT_EQ(seen.status->error().code, Code::kUnavailable);
  EXPECT_EQ(closed, 1);
}

TEST_F(Life, no_call_is_lost_while_connections_age) {
  start_server({.connection_age_max = seconds(2), .connection_age_grace = seconds(5)});
  auto client = channel();
  int good = 0;
  int bad = 0;
  std::vector<std::unique_ptr<ClientCall>> calls;
  for (int i = 0; i < 4000; ++i) {
    calls.push_back(client->unary(kEcho, "x", {},
                                  [&](Result<Bytes> reply) { (reply.ok() ? good : bad) += 1; }));
    scheduler.run_for(milliseconds(5));
  }
  EXPECT_TRUE(until([&] { return good + bad == 4000; }));
  EXPECT_EQ(bad, 0);
  EXPECT_EQ(handled, 4000) << "none was run twice";
  EXPECT_GE(accepted, 8);
}

TEST_F(Life, shutdown_lets_running_calls_finish_and_takes_no_new_ones) {
  start_server();
  auto client = channel();
  Watched seen;
  auto open = client->stream(kOpen, {}, seen.reply());
  ASSERT_TRUE(until([&] { return seen.messages.size() == 1; }));
  bool done = false;
  server->shutdown(seconds(10), [&] { done = true; });
  listener.reset();
  scheduler.run_for(seconds(5));
  EXPECT_FALSE(done);
  EXPECT_EQ(call(*client, kEcho, "late").error().code, Code::kUnavailable);
  streams[0]->finish({});
  EXPECT_TRUE(until([&] { return done && seen.status; }));
  EXPECT_TRUE(seen.status->ok());
  EXPECT_EQ(server->connection_count(), 0U);
}

TEST_F(Life, shutdown_ends_after_its_grace_whatever_runs) {
  start_server();
  auto client = channel();
  Watched seen;
  auto open = client->stream(kOpen, {}, seen.reply());
  ASSERT_TRUE(until([&] { return seen.messages.size() == 1; }));
  SteadyTime start = clock.steady();
  bool done = false;
  server->shutdown(seconds(10), [&] { done = true; });
  EXPECT_TRUE(until([&] { return done; }));
  EXPECT_LE(clock.steady() - start, seconds(12));
  EXPECT_EQ(closed, 1);
}

TEST_F(Life, an_idle_server_shuts_down_at_once) {
  start_server();
  auto client = channel();
  EXPECT_TRUE(call(*client, kEcho, "x").ok());
  bool done = false;
  server->shutdown(seconds(10), [&] { done = true; });
  EXPECT_TRUE(until([&] { return done; }, seconds(2)));
}

TEST_F(Life, goaway_comes_in_two_steps) {
  start_server();
  RawClient raw;
  client_network->connect(
      client_loop, io::Endpoint::tcp("server", 8081), seconds(5),
      [&](Result<std::unique_ptr<io::Connection>> c) {
        raw.use(std::move(c).take());
        raw.send(testing::kPreface +
                 testing::headers_frame(1, testing::request_fields(kOpen), false));
      });
  ASSERT_TRUE(until([&] { return streams.size() == 1; }));
  server->shutdown(seconds(10), [] {});
  ASSERT_TRUE(until([&] { return raw.frames(NGHTTP2_GOAWAY, 0).size() == 2; }));
  auto frames = raw.frames(NGHTTP2_GOAWAY, 0);
  EXPECT_EQ(frames[0].payload.substr(0, 4), testing::be32(0x7fffffff));
  EXPECT_EQ(frames[1].payload.substr(0, 4), testing::be32(1));
  EXPECT_EQ(frames[1].payload.substr(4, 4), testing::be32(NGHTTP2_NO_ERROR));
}

TEST_F(Life, a_silent_peer_fails_the_keepalive_of_the_server) {
  start_server({.keepalive_interval = minutes(2), .keepalive_timeout = seconds(20)});
  auto client = channel();
  ASSERT_TRUE(call(*client, kEcho, "x").ok());
  scheduler.run_for(minutes(30));
  EXPECT_EQ(server->connection_count(), 1U) << "a living peer answers pings";
  wires.cut("server", "client");
  scheduler.run_for(minutes(5));
  EXPECT_EQ(server->connection_count(), 0U);
}

TEST_F(Life, a_silent_server_fails_the_keepalive_of_the_client_and_its_streams) {
  start_server();
  auto client = channel({.keepalive_interval = seconds(30), .keepalive_timeout = seconds(10)});
  Watched seen;
  auto open = client->stream(kOpen, {}, seen.reply());
  ASSERT_TRUE(until([&] { return seen.messages.size() == 1; }));
  wires.cut("server", "client");
  ASSERT_TRUE(until([&] { return seen.status.has_value(); }, minutes(3)));
  EXPECT_EQ(seen.status->error().code, Code::kUnavailable);
  wires.heal_all();
  EXPECT_TRUE(call(*client, kEcho, "back").ok());
}

TEST_F(Life, a_call_fails_at_once_while_backing_off_and_passes_when_the_server_is_there) {
  auto client = channel({.backoff_first = seconds(1), .backoff_max = seconds(4)});
  Result<Bytes> first = call(*client, kEcho, "x");
  EXPECT_EQ(first.error().message,
            "connection error: desc = \"transport: Error while dialing: dial tcp server:8081: "
            "connect: connection refused\"");
  SteadyTime start = clock.steady();
  EXPECT_EQ(call(*client, kEcho, "x").error().message, first.error().message);
  EXPECT_LT(clock.steady() - start, milliseconds(1)) << "no new attempt yet";
  start_server();
  scheduler.run_for(seconds(2));
  EXPECT_TRUE(call(*client, kEcho, "x").ok());
}

TEST_F(Life, a_restarted_server_is_found_again) {
  start_server();
  auto client = channel();
  ASSERT_TRUE(call(*client, kEcho, "1").ok());
  stop_server();
  start_server();
  scheduler.run_for(seconds(1));
  EXPECT_TRUE(call(*client, kEcho, "2").ok());
  EXPECT_EQ(accepted, 2);
}

TEST_F(Life, a_server_that_hangs_up_before_it_speaks_counts_as_unreachable) {
  auto hang_up = server_network
                     ->listen(server_loop, io::Endpoint::tcp("", 8081), {},
                              [this](std::unique_ptr<io::Connection>) { ++accepted; })
                     .take();
  auto client = channel({.backoff_first = seconds(1)});
  EXPECT_EQ(call(*client, kEcho, "x").error().code, Code::kUnavailable);
  EXPECT_EQ(call(*client, kEcho, "x").error().code, Code::kUnavailable);
  EXPECT_EQ(accepted, 1) << "the second call meets the backoff";
}

TEST_F(Life, a_server_that_never_speaks_runs_into_the_connect_timeout) {
  std::unique_ptr<io::Connection> kept;
  auto mute = server_network
                  ->listen(server_loop, io::Endpoint::tcp("", 8081), {},
                           [&](std::unique_ptr<io::Connection> c) { kept = std::move(c); })
                  .take();
  auto client = channel({.connect_timeout = seconds(5)});
  SteadyTime start = clock.steady();
  EXPECT_EQ(call(*client, kEcho, "x").error().code, Code::kUnavailable);
  EXPECT_LE(clock.steady() - start, seconds(11));
}

// Speaks just enough HTTP/2 to refuse every stream, and counts them.
struct Refuser {
  void take(std::unique_ptr<io::Connection> taken, io::Loop& loop) {
    connection = std::move(taken);
    timer = std::make_unique<io::Timer>(loop);
    out = testing::frame(NGHTTP2_SETTINGS, 0, 0, "");
    connection->on_ready([this](bool readable, bool) { turn(readable); });
    connection->interest(true, true);
  }
  void turn(bool readable) {
    std::array<char, 4096> buffer{};
    io::IoResult got{io::IoStatus::kOk};
    while (readable && (got = connection->read(buffer)).status == io::IoStatus::kOk) {
      in.append(buffer.data(), got.bytes);
    }
    // HEADERS with END_HEADERS of the next stream.
    std::string next =
        std::string("\1\4", 2) + testing::be32(static_cast<std::uint32_t>(seen * 2 + 1));
    if (in.find(next) != std::string::npos) {
      auto stream = static_cast<std::uint32_t>(seen * 2 + 1);
      ++seen;
      timer->start(refuse_after, [this, stream] {
        out += testing::rst_frame(stream, code);
        connection->interest(true, true);
      });
    }
    if (!out.empty()) {
      io::IoResult put = connection->write(out);
      out.erase(0, put.status == io::IoStatus::kOk ? put.bytes : 0);
    }
    connection->interest(true, !out.empty());
  }
  std::unique_ptr<io::Connection> connection;
  std::string in;
  std::string out;
  int seen = 0;
  std::uint32_t code = NGHTTP2_REFUSED_STREAM;
  Duration refuse_after{};
  std::unique_ptr<io::Timer> timer;
};

TEST_F(Life, a_refused_stream_is_sent_again_once_and_then_fails) {
  Refuser refuser;
  auto listening = server_network
                       ->listen(server_loop, io::Endpoint::tcp("", 8081), {},
                                [&](std::unique_ptr<io::Connection> c) {
                                  refuser.take(std::move(c), server_loop);
                                })
                       .take();
  auto client = channel();
  Result<Bytes> answer = call(*client, kEcho, "again");
  EXPECT_EQ(refuser.seen, 2);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_EQ(answer.error().message,
            "stream terminated by RST_STREAM with error code: REFUSED_STREAM");
}

// Seen against grpc-go: its timer rang first, its RST_STREAM(CANCEL) came before ours did.
TEST(Deadline, a_reset_at_the_deadline_means_the_deadline) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    FakeClock clock;
    io::SimScheduler scheduler(clock, seed);
    io::SimLoop loop(scheduler);
    io::SimSwitch wires(scheduler, {.latency_min = Duration(0), .latency_max = Duration(0)});
    auto network = wires.join("host");
    Refuser server;
    server.code = NGHTTP2_CANCEL;
    server.refuse_after = seconds(1);
    auto listening =
        network
            ->listen(loop, io::Endpoint::tcp("", 1), {},
                     [&](std::unique_ptr<io::Connection> c) { server.take(std::move(c), loop); })
            .take();
    Channel channel({loop, *network, nullptr, scheduler.random()},
                    io::Endpoint::tcp("localhost", 1), nullptr);
    std::optional<Result<Bytes>> answer;
    auto call = channel.unary(kEcho, "x", {.timeout = seconds(1)},
                              [&](Result<Bytes> reply) { answer = std::move(reply); });
    ASSERT_TRUE(scheduler.run_while_not([&] { return answer.has_value(); }, seconds(5)));
    EXPECT_EQ(answer->error().code, Code::kDeadlineExceeded) << "seed " << seed;
    call.reset();
    server.connection.reset();
  }
}

TEST_F(Life, reconnect_finishes_old_calls_on_the_old_connection) {
  start_server();
  auto client = channel();
  Watched seen;
  auto open = client->stream(kOpen, {}, seen.reply());
  ASSERT_TRUE(until([&] { return seen.messages.size() == 1; }));
  client->reconnect();
  EXPECT_TRUE(call(*client, kEcho, "x").ok());
  EXPECT_EQ(accepted, 2);
  streams[0]->send("more");
  streams[0]->finish({});
  EXPECT_TRUE(until([&] { return seen.status.has_value(); }));
  EXPECT_THAT(seen.messages, ::testing::ElementsAre("welcome", "more"));
  EXPECT_TRUE(until([&] { return server->connection_count() == 1; }));
}

TEST_F(Life, health_is_checked_listed_and_watched) {
  using grpc::health::v1::HealthCheckRequest;
  using grpc::health::v1::HealthCheckResponse;
  start_server();
  auto client = channel();
  HealthCheckRequest request;
  auto check = [&] {
    return parse_response<HealthCheckResponse>(
               *call(*client, "/grpc.health.v1.Health/Check", request.SerializeAsString()))
        ->status();
  };
  EXPECT_EQ(check(), HealthCheckResponse::SERVING);
  std::vector<int> watched;
  auto watch = stream_call<HealthCheckResponse>(
      *client, "/grpc.health.v1.Health/Watch", {},
      [&](const Result<HealthCheckResponse>& r) { watched.push_back(r->status()); },
      [](const Result<void>&) {});
  watch->send(request.SerializeAsString());
  watch->close_send();
  ASSERT_TRUE(until([&] { return watched.size() == 1; }));
  healthy = false;
  EXPECT_EQ(check(), HealthCheckResponse::NOT_SERVING);
  ASSERT_TRUE(until([&] { return watched.size() == 2; }));
  EXPECT_THAT(watched, ::testing::ElementsAre(1, 2));
  auto list = parse_response<grpc::health::v1::HealthListResponse>(
      *call(*client, "/grpc.health.v1.Health/List", ""));
  EXPECT_EQ(list->statuses().at("").status(), HealthCheckResponse::NOT_SERVING);
  request.set_service("spire");
  Result<Bytes> refused =
      call(*client, "/grpc.health.v1.Health/Check", request.SerializeAsString());
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_EQ(refused.error().message, "per-service health is not supported");
}

TEST_F(Life, reflection_lists_services_and_gives_their_files_in_both_versions) {
  using grpc::reflection::v1::ServerReflectionRequest;
  using grpc::reflection::v1::ServerReflectionResponse;
  start_server();
  auto client = channel();
  for (const char* version : {"v1", "v1alpha"}) {
    std::vector<ServerReflectionResponse> got;
    auto stream = stream_call<ServerReflectionResponse>(
        *client, fmt::format("/grpc.reflection.{}.ServerReflection/ServerReflectionInfo", version),
        {}, [&](const Result<ServerReflectionResponse>& r) { got.push_back(*r); },
        [](const Result<void>&) {});
    ServerReflectionRequest request;
    request.set_list_services("*");
    stream->send(request.SerializeAsString());
    request.set_file_containing_symbol("grpc.health.v1.Health");
    stream->send(request.SerializeAsString());
    request.set_file_by_filename("no/such.proto");
    stream->send(request.SerializeAsString());
    ASSERT_TRUE(until([&] { return got.size() == 3; }));
    std::vector<std::string> names;
    for (const auto& service : got[0].list_services_response().service()) {
      names.push_back(service.name());
    }
    EXPECT_THAT(names, ::testing::ElementsAre("grpc.health.v1.Health",
                                              "grpc.reflection.v1.ServerReflection",
                                              "grpc.reflection.v1alpha.ServerReflection"));
    EXPECT_EQ(got[1].file_descriptor_response().file_descriptor_proto_size(), 1);
    EXPECT_EQ(got[2].error_response().error_code(), 5);
  }
}

// The same steps for the same seed, with everything random in play.
std::uint64_t stormy_run(std::uint64_t seed) {
  struct Storm : Life {
    explicit Storm(std::uint64_t chosen) : Life(chosen) {}
    void TestBody() override {}
    std::uint64_t run() {
      start_server({.connection_age_max = seconds(3), .connection_age_grace = seconds(1)});
      auto client = channel({.backoff_first = milliseconds(50), .backoff_max = seconds(1)});
      std::vector<std::unique_ptr<ClientCall>> calls;
      int answered = 0;
      const int count = 400;
      for (int i = 0; i < count; ++i) {
        calls.push_back(client->unary(kEcho, Bytes(static_cast<std::size_t>(i) * 37, 'x'),
                                      {.timeout = seconds(5)}, [&](const Result<Bytes>& reply) {
                                        ++answered;
                                        if (reply.ok()) {
                                          EXPECT_EQ(reply->find_first_not_of('x'), Bytes::npos);
                                        }
                                      }));
        scheduler.run_for(milliseconds(20));
        switch (scheduler.random().below(40)) {
          case 0:
            wires.reset_connections("server", "client");
            break;
          case 1:
            wires.cut("server", "client");
            break;
          case 2:
            stop_server();
            start_server({.connection_age_max = seconds(3)});
            break;
          default:
            wires.heal_all();
        }
      }
      wires.heal_all();
      EXPECT_TRUE(until([&] { return answered == count; })) << "seed " << seed_;
      EXPECT_TRUE(until([&] {
        scheduler.run_for(seconds(2));
        return call(*client, kEcho, "calm").ok();
      })) << "seed "
          << seed_;
      calls.clear();
      client.reset();
      stop_server();
      scheduler.run_for(seconds(10));
      EXPECT_EQ(wires.connection_count(), 0U) << "seed " << seed_;
      return scheduler.fingerprint();
    }
    std::uint64_t seed_ = 0;
  };
  Storm storm(seed);
  storm.seed_ = seed;
  return storm.run();
}

TEST(Storm, every_call_gets_its_answer_and_a_seed_replays) {
  std::set<std::uint64_t> different;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    different.insert(stormy_run(seed));
  }
  EXPECT_EQ(different.size(), 12U);
  EXPECT_EQ(stormy_run(7), stormy_run(7));
}

}  // namespace
}  // namespace steeple::rpc
