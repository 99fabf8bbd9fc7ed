// SPDX-License-Identifier: Apache-2.0

// Goal: streams in all directions keep order, push back, and end in every way a stream can end.
// Method: the real loop and Unix sockets in one process.

#include <gmock/gmock.h>

#include "lib/rpc/testing.h"

namespace steeple::rpc {
namespace {

using ::testing::ElementsAre;
using testing::World;

constexpr auto kMethod = "/test.Stream/Run";

// What a client sees of one stream.
struct Watcher {
  StreamReply reply() {
    return {.on_message = [this](ByteView message) { messages.emplace_back(message); },
            .on_done = [this](Result<void> result) { status = std::move(result); }};
  }
  bool done() const { return status.has_value(); }
  std::vector<std::string> messages;
  std::optional<Result<void>> status;
};

// The server's side of one stream, kept for the test to drive.
struct Accepted {
  explicit Accepted(Server& server) {
    server.stream(kMethod, [this](std::shared_ptr<ServerStream> opened) {
      stream = std::move(opened);
      stream->on_message([this](ByteView message) { messages.emplace_back(message); });
      stream->on_half_close([this] { half_closed = true; });
      stream->on_closed([this] { ++closed; });
    });
  }
  std::shared_ptr<ServerStream> stream;
  std::vector<std::string> messages;
  bool half_closed = false;
  int closed = 0;
};

TEST(Stream, the_server_sends_many_messages_in_order_and_then_its_status) {
  World world;
  world.server.stream(kMethod, [](std::shared_ptr<ServerStream> stream) {
    stream->on_message([raw = stream.get()](ByteView request) {
      for (int i = 0; i < std::stoi(std::string(request)); ++i) {
        raw->send(std::to_string(i));
      }
      raw->finish(not_found("no more"));
    });
  });
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  call->send("20000");
  call->close_send();
  world.until([&] { return seen.done(); });
  ASSERT_EQ(seen.messages.size(), 20000U);
  for (std::size_t i = 0; i < seen.messages.size(); ++i) {
    ASSERT_EQ(seen.messages[i], std::to_string(i));
  }
  EXPECT_EQ(seen.status->error().code, Code::kNotFound);
  EXPECT_EQ(seen.status->error().message, "no more");
}

TEST(Stream, client_streaming_ends_with_one_answer) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  for (int i = 0; i < 1000; ++i) {
    call->send(Bytes(1000, 'x'));
  }
  call->close_send();
  world.until([&] { return accepted.half_closed; });
  EXPECT_EQ(accepted.messages.size(), 1000U);
  accepted.stream->send("sum");
  accepted.stream->finish({});
  world.until([&] { return seen.done() && accepted.closed == 1; });
  EXPECT_THAT(seen.messages, ElementsAre("sum"));
  EXPECT_TRUE(seen.status->ok());
}

TEST(Stream, both_directions_interleave_message_by_message) {
  World world;
  world.server.stream(kMethod, [](std::shared_ptr<ServerStream> stream) {
    stream->on_message([raw = stream.get()](ByteView message) { raw->send(Bytes(message) + "!"); });
    stream->on_half_close([raw = stream.get()] { raw->finish({}); });
  });
  world.listen();
  auto channel = world.channel();
  std::vector<std::string> order;
  std::optional<Result<void>> status;
  std::unique_ptr<ClientCall> call;
  StreamReply reply;
  reply.on_message = [&](ByteView message) {
    order.emplace_back(message);
    if (order.size() < 100) {
      call->send(std::to_string(order.size()));
    } else {
      call->close_send();
    }
  };
  reply.on_done = [&](Result<void> result) { status = std::move(result); };
  call = channel->stream(kMethod, {}, std::move(reply));
  call->send("0");
  world.until([&] { return status.has_value(); });
  EXPECT_TRUE(status->ok());
  ASSERT_EQ(order.size(), 100U);
  EXPECT_EQ(order[99], "99!");
}

TEST(Stream, both_sides_may_be_full_without_a_standstill) {
  World world;
  std::size_t at_server = 0;
  std::shared_ptr<ServerStream> kept;
  world.server.stream(kMethod, [&](std::shared_ptr<ServerStream> stream) {
    kept = stream;
    stream->on_message([&](ByteView message) {
      at_server += message.size();
      kept->send(Bytes(message));
    });
    stream->on_half_close([&] { kept->finish({}); });
  });
  world.listen();
  auto channel = world.channel();
  std::size_t at_client = 0;
  bool done = false;
  auto call = channel->stream(kMethod, {},
                              {.on_message = [&](ByteView message) { at_client += message.size(); },
                               .on_done = [&](const Result<void>&) { done = true; }});
  for (int i = 0; i < 60; ++i) {
    call->send(Bytes(std::size_t{1} << 20, 'x'));
  }
  call->close_send();
  world.until([&] { return done; });
  EXPECT_EQ(at_server, std::size_t{60} << 20);
  EXPECT_EQ(at_client, at_server);
}

TEST(Stream, a_paused_reader_closes_the_window_and_loses_nothing) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  world.until([&] { return accepted.stream != nullptr; });
  accepted.stream->pause(true);
  const int count = 64;
  for (int i = 0; i < count; ++i) {
    call->send(Bytes(std::size_t{64} << 10, static_cast<char>('a' + i % 26)));
  }
  call->close_send();
  // Another call passes meanwhile: one slow reader does not stop the connection.
  EXPECT_EQ(world.call(*channel, "/test.Other/Call", "").error().code, Code::kUnimplemented);
  EXPECT_TRUE(accepted.messages.empty());
  accepted.stream->pause(false);
  world.until([&] { return accepted.half_closed; });
  EXPECT_EQ(accepted.messages.size(), static_cast<std::size_t>(count));
  accepted.stream->finish({});
  world.until([&] { return seen.done(); });
}

TEST(Stream, pausing_inside_a_message_stops_right_there) {
  World world;
  std::vector<std::string> got;
  std::shared_ptr<ServerStream> kept;
  world.server.stream(kMethod, [&](std::shared_ptr<ServerStream> stream) {
    kept = stream;
    stream->on_message([&](ByteView message) {
      got.emplace_back(message);
      kept->pause(true);
    });
    stream->on_half_close([&] { got.emplace_back("end"); });
  });
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  call->send("1");
  call->send("2");
  call->close_send();
  world.until([&] { return got.size() == 1; });
  EXPECT_THAT(got, ElementsAre("1"));
  kept->pause(false);
  EXPECT_THAT(got, ElementsAre("1", "2"));
  kept->pause(false);
  EXPECT_THAT(got, ElementsAre("1", "2", "end"));
}

TEST(Stream, what_a_slow_client_does_not_take_is_counted_as_buffered) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  world.until([&] { return accepted.stream != nullptr; });
  accepted.stream->send(Bytes(std::size_t{3} << 20, 'x'));
  EXPECT_GT(accepted.stream->buffered_bytes(), std::size_t{3} << 20);
  world.until([&] { return seen.messages.size() == 1; });
  EXPECT_EQ(accepted.stream->buffered_bytes(), 0U);
}

TEST(Stream, a_dropped_handle_cancels_at_the_server) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  world.until([&] { return accepted.stream != nullptr; });
  EXPECT_FALSE(accepted.stream->context().cancelled);
  call.reset();
  world.until([&] { return accepted.closed == 1; });
  EXPECT_TRUE(accepted.stream->context().cancelled);
  EXPECT_FALSE(seen.done());
  accepted.stream->send("into the void");
  accepted.stream->finish({});
  EXPECT_EQ(accepted.closed, 1);
}

TEST(Stream, a_handle_may_go_inside_its_own_message) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  std::unique_ptr<ClientCall> call;
  int messages = 0;
  StreamReply reply;
  reply.on_message = [&](ByteView) {
    ++messages;
    call.reset();
  };
  call = channel->stream(kMethod, {}, std::move(reply));
  world.until([&] { return accepted.stream != nullptr; });
  accepted.stream->send("1");
  accepted.stream->send("2");
  world.until([&] { return accepted.closed == 1; });
  EXPECT_EQ(messages, 1);
}

TEST(Stream, a_deadline_ends_the_call_on_both_sides) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {.timeout = std::chrono::milliseconds(20)}, seen.reply());
  world.until([&] { return seen.done() && accepted.closed == 1; });
  EXPECT_EQ(seen.status->error().code, Code::kDeadlineExceeded);
  EXPECT_EQ(seen.status->error().message, "context deadline exceeded");
}

TEST(Stream, the_server_answers_a_deadline_while_its_worker_still_runs) {
  std::atomic<bool> go_on = false;
  std::atomic<bool> started = false;
  std::atomic<bool> was_cancelled = false;
  World world;
  world.server.unary(kMethod, Where::kWorker, [&](CallContext& call, ByteView) {
    started = true;
    while (!call.cancelled && !go_on) {
      std::this_thread::yield();
    }
    was_cancelled = call.cancelled.load();
    return Result<Bytes>("late");
  });
  world.listen();
  auto channel = world.channel();
  // On a machine so busy that the deadline passes before the handler starts, it never starts.
  do {
    Result<Bytes> answer =
        world.call(*channel, kMethod, "", {.timeout = std::chrono::milliseconds(100)});
    EXPECT_EQ(answer.error().code, Code::kDeadlineExceeded);
  } while (!started);
  world.until([&] { return was_cancelled.load(); });
  go_on = true;
}

TEST(Stream, an_abrupt_disconnect_closes_the_streams_of_the_server) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  world.until([&] { return accepted.stream != nullptr; });
  channel.reset();
  EXPECT_TRUE(seen.done());
  EXPECT_EQ(seen.status->error().code, Code::kCancelled);
  world.until([&] { return accepted.closed == 1 && world.server.connection_count() == 0; });
}

TEST(Stream, a_finished_stream_stops_a_client_that_still_sends) {
  World world;
  Accepted accepted(world.server);
  world.listen();
  auto channel = world.channel();
  Watcher seen;
  auto call = channel->stream(kMethod, {}, seen.reply());
  call->send("1");
  world.until([&] { return accepted.messages.size() == 1; });
  accepted.stream->finish({});
  world.until([&] { return seen.done() && accepted.closed == 1; });
  EXPECT_TRUE(seen.status->ok());
}

}  // namespace
}  // namespace steeple::rpc
