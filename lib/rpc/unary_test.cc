// SPDX-License-Identifier: Apache-2.0

// Goal: a unary call goes from client to server and back over a Unix socket, with all that may
// happen to it. Method: the real loop, sockets and workers in one process.

#include <gmock/gmock.h>

#include "lib/rpc/testing.h"

namespace steeple::rpc {
namespace {

using testing::World;

constexpr auto kEcho = "/test.Echo/Echo";

Result<Bytes> echo(CallContext&, ByteView request) { return Bytes(request); }

TEST(Unary, echoes_over_a_unix_socket_from_the_loop_and_from_a_worker) {
  World world;
  world.server.unary(kEcho, Where::kLoop, echo);
  world.server.unary("/test.Echo/Worker", Where::kWorker, echo);
  world.listen();
  auto channel = world.channel();
  for (const char* method : {kEcho, "/test.Echo/Worker"}) {
    Result<Bytes> answer = world.call(*channel, method, "hello");
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_EQ(*answer, "hello");
    EXPECT_EQ(*world.call(*channel, method, ""), "");
  }
  EXPECT_EQ(world.server.connection_count(), 1U);
}

TEST(Unary, the_caller_is_the_process_that_connected) {
  World world;
  world.server.unary("/test.Who/Am", Where::kWorker, [](CallContext& call, ByteView) {
    return Result<Bytes>(fmt::format("{} {}", call.peer->process->pid, call.peer->process->uid));
  });
  world.listen();
  auto channel = world.channel();
  EXPECT_EQ(*world.call(*channel, "/test.Who/Am", ""),
            fmt::format("{} {}", ::getpid(), ::getuid()));
}

TEST(Unary, an_error_keeps_code_text_and_details) {
  World world;
  world.server.unary("/test.Fail/Fail", Where::kWorker, [](CallContext&, ByteView) {
    Error error = permission_denied("no identity \"issued\": 100 % grün\n");
    error.details.push_back({"type.googleapis.com/x.Y", std::string("\0\1\2", 3)});
    return Result<Bytes>(error);
  });
  world.listen();
  auto channel = world.channel();
  Result<Bytes> answer = world.call(*channel, "/test.Fail/Fail", "");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, Code::kPermissionDenied);
  EXPECT_EQ(answer.error().message, "no identity \"issued\": 100 % grün\n");
  ASSERT_EQ(answer.error().details.size(), 1U);
  EXPECT_EQ(answer.error().details[0].type_url, "type.googleapis.com/x.Y");
  EXPECT_EQ(answer.error().details[0].value, std::string("\0\1\2", 3));
}

TEST(Unary, messages_of_four_mebibytes_pass_and_one_byte_more_is_refused) {
  World world;
  world.server.unary(kEcho, Where::kWorker, echo);
  world.listen();
  auto channel = world.channel();
  Bytes big(limits::kMessageBytesMax, 'x');
  Result<Bytes> answer = world.call(*channel, kEcho, big);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->size(), big.size());
  answer = world.call(*channel, kEcho, big + "x");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, Code::kResourceExhausted);
  EXPECT_EQ(answer.error().message, "grpc: received message larger than max (4194305 vs. 4194304)");
}

TEST(Unary, unknown_methods_and_services_are_named) {
  World world;
  world.server.unary(kEcho, Where::kLoop, echo);
  world.listen();
  auto channel = world.channel();
  EXPECT_EQ(world.call(*channel, "/test.Echo/Nope", "").error().message,
            "unknown method Nope for service test.Echo");
  EXPECT_EQ(world.call(*channel, "/test.Nope/Echo", "").error().message,
            "unknown service test.Nope");
  EXPECT_EQ(world.call(*channel, "/test.Nope/Echo", "").error().code, Code::kUnimplemented);
}

TEST(Unary, the_authorize_hook_refuses_before_the_handler_runs) {
  int calls = 0;
  std::vector<Code> observed;
  ServerHooks hooks;
  hooks.authorize = [](CallContext& call) -> Result<void> {
    if (call.values("x-open").empty()) {
      return permission_denied("no");
    }
    return {};
  };
  hooks.observe = [&](const CallContext&, Code code, Duration) { observed.push_back(code); };
  World world({}, hooks);
  world.server.unary(kEcho, Where::kLoop, [&](CallContext&, ByteView) {
    ++calls;
    return Result<Bytes>(Bytes());
  });
  world.listen();
  auto channel = world.channel();
  EXPECT_EQ(world.call(*channel, kEcho, "").error().code, Code::kPermissionDenied);
  EXPECT_EQ(calls, 0);
  EXPECT_TRUE(world.call(*channel, kEcho, "", {.metadata = {{"x-open", "1"}}}).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(observed, ::testing::ElementsAre(Code::kPermissionDenied, Code::kOk));
}

TEST(Unary, a_thousand_calls_share_one_connection) {
  World world;
  world.server.unary(kEcho, Where::kWorker, echo);
  world.listen();
  auto channel = world.channel();
  std::vector<std::unique_ptr<ClientCall>> calls;
  int good = 0;
  for (int i = 0; i < 1000; ++i) {
    calls.push_back(channel->unary(kEcho, std::to_string(i), {}, [&good, i](Result<Bytes> reply) {
      good += reply.ok() && *reply == std::to_string(i) ? 1 : 0;
    }));
  }
  world.until([&] { return good == 1000; });
  EXPECT_EQ(world.server.connection_count(), 1U);
}

TEST(Unary, a_missing_server_is_named_as_go_names_it) {
  World world;
  auto channel = world.channel();
  Result<Bytes> answer = world.call(*channel, kEcho, "");
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_EQ(answer.error().message,
            fmt::format("connection error: desc = \"transport: Error while dialing: dial unix {}: "
                        "connect: no such file or directory\"",
                        world.folder.file("s")));
}

}  // namespace
}  // namespace steeple::rpc
