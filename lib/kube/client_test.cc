// SPDX-License-Identifier: Apache-2.0

// Goal: requests are what the API server wants, answers and refusals become values, and a cancelled
// call is silent. Method: the scripted transport, byte by byte where it matters.

#include "lib/kube/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "lib/io/loop_thread.h"
#include "lib/kube/array_reader.h"
#include "lib/kube/blocking_client.h"
#include "lib/kube/fake_client.h"

namespace steeple::kube {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ClientTest : public testing::Test {
 protected:
  ObjectHandler keep() {
    return [this](Result<ObjectPtr> answer) { answer_ = std::move(answer); };
  }
  FakeExchange& last() { return fake_.transport.last(); }

  FakeClient fake_;
  std::optional<Result<ObjectPtr>> answer_;
};

TEST_F(ClientTest, GetAsksForTheObjectWithTheToken) {
  auto call = fake_.client.get({kPods, "default", "web-0"}, keep());
  EXPECT_EQ(last().request.url, "https://api:6443/api/v1/namespaces/default/pods/web-0");
  EXPECT_EQ(last().header("authorization"), "Bearer t1");
  EXPECT_EQ(last().header("accept"), "application/json");
  last().answer(200, R"({"kind":"Pod"})");
  ASSERT_TRUE(answer_ && answer_->ok());
  EXPECT_EQ(view_at(***answer_, {"kind"}), "Pod");
}

TEST_F(ClientTest, ARefusedTokenIsReadAgainAndTheRequestRepeatedOnce) {
  fake_.access.next_token = "t2";
  auto call = fake_.client.get({kNodes, "", "n"}, keep());
  last().answer(401, FakeClient::status(401, "Unauthorized"));
  ASSERT_EQ(fake_.transport.count(), 2U);
  EXPECT_EQ(last().header("authorization"), "Bearer t2");
  last().answer(401, FakeClient::status(401, "Unauthorized"));
  EXPECT_EQ(fake_.transport.count(), 2U);
  ASSERT_TRUE(answer_);
  EXPECT_EQ(answer_->error().code, Code::kUnauthenticated);
}

TEST_F(ClientTest, ATokenThatCannotChangeIsNotTriedTwice) {
  fake_.access.can_refresh = false;
  auto call = fake_.client.get({kNodes, "", "n"}, keep());
  last().answer(401, "");
  EXPECT_EQ(fake_.transport.count(), 1U);
  EXPECT_TRUE(answer_);
}

TEST_F(ClientTest, RefusalsCarryTheStatus) {
  auto call = fake_.client.get({kNodes, "", "n"}, keep());
  last().answer(429, FakeClient::status(429, "TooManyRequests", "slow down"),
                {{"retry-after", "7"}});
  const Error& error = answer_->error();
  EXPECT_EQ(error.code, Code::kResourceExhausted);
  EXPECT_EQ(error.message, "slow down");
  ApiStatus status = api_status(error).value();
  EXPECT_EQ(status.code, 429);
  EXPECT_EQ(status.reason, "TooManyRequests");
  EXPECT_EQ(status.retry_after, std::chrono::seconds(7));
  EXPECT_THAT(without_status(error).details, IsEmpty());
}

TEST_F(ClientTest, AConflictIsNotAnExistingObject) {
  auto first = fake_.client.create({kConfigMaps, "ns"}, json::object(), {}, keep());
  last().answer(409, FakeClient::status(409, "AlreadyExists"));
  EXPECT_EQ(answer_->error().code, Code::kAlreadyExists);
  EXPECT_FALSE(is_conflict(answer_->error()));
  auto second = fake_.client.update({kConfigMaps, "ns", "n"}, json::object(), {}, keep());
  last().answer(409, FakeClient::status(409, "Conflict"));
  EXPECT_TRUE(is_conflict(answer_->error()));
}

TEST_F(ClientTest, AnAnswerOfAProxyIsAnErrorWithTheHttpStatus) {
  auto call = fake_.client.get({kNodes, "", "n"}, keep());
  last().answer(502, "<html>Bad Gateway</html>");
  EXPECT_EQ(answer_->error().code, Code::kUnavailable);
  EXPECT_EQ(answer_->error().message, "the server answered with HTTP status 502");
}

TEST_F(ClientTest, WritesGoWhereTheyBelong) {
  json object = {{"a", 1}};
  auto create = fake_.client.create({kLeases, "ns", "x"}, object, {.dry_run = true}, keep());
  EXPECT_EQ(last().request.method, "POST");
  EXPECT_EQ(last().path(), "/apis/coordination.k8s.io/v1/namespaces/ns/leases?dryRun=All");
  EXPECT_EQ(last().request.body, R"({"a":1})");
  auto update = fake_.client.update({kLeases, "ns", "x", "status"}, object, {}, keep());
  EXPECT_EQ(last().request.method, "PUT");
  EXPECT_THAT(last().path(), HasSubstr("/leases/x/status"));
  auto apply = fake_.client.patch(
      {kLeases, "ns", "x"}, object,
      {.type = PatchType::kApply, .field_manager = "steeple/1", .force = true}, keep());
  EXPECT_EQ(last().request.method, "PATCH");
  EXPECT_EQ(last().header("content-type"), "application/apply-patch+yaml");
  EXPECT_EQ(last().query("fieldManager"), "steeple/1");
  EXPECT_EQ(last().query("force"), "true");
  auto merge = fake_.client.patch({kNodes, "", "x"}, object, {.type = PatchType::kMerge}, keep());
  EXPECT_EQ(last().header("content-type"), "application/merge-patch+json");
  auto patch = fake_.client.patch({kNodes, "", "x"}, object, {.type = PatchType::kJson}, keep());
  EXPECT_EQ(last().header("content-type"), "application/json-patch+json");
  auto remove = fake_.client.remove({kNodes, "", "x"}, {.uid = "u"}, keep());
  EXPECT_EQ(last().request.method, "DELETE");
  EXPECT_EQ(json::parse(last().request.body)["preconditions"]["uid"], "u");
}

TEST_F(ClientTest, NamesThatWouldLeaveThePathAreRefusedBeforeTheNetwork) {
  for (const char* name : {"..", "a/b", "a?b", "a%2fb", "", "a\n"}) {
    answer_.reset();
    auto call = fake_.client.get({kPods, "default", name}, keep());
    EXPECT_FALSE(answer_) << "never from inside the call";
    fake_.run();
    ASSERT_TRUE(answer_);
    EXPECT_EQ(answer_->error().code, Code::kInvalidArgument) << name;
  }
  auto call = fake_.client.get({kPods, "", "x"}, keep());
  auto apply = fake_.client.patch({kNodes, "", "x"}, {}, {.type = PatchType::kApply}, keep());
  fake_.run();
  EXPECT_EQ(fake_.transport.count(), 0U);
}

TEST_F(ClientTest, ADroppedCallIsSilentAndCancelled) {
  auto call = fake_.client.get({kNodes, "", "n"}, keep());
  call.reset();
  EXPECT_FALSE(last().open());
  last().answer(200, "{}");
  EXPECT_FALSE(answer_);
}

TEST_F(ClientTest, AnAnswerBeyondTheLimitEndsTheCall) {
  auto call = fake_.client.get({kNodes, "", "n"}, keep());
  last().head(200);
  last().data(std::string(kObjectBytesMax, ' '));
  EXPECT_FALSE(answer_);
  last().data(" ");
  ASSERT_TRUE(answer_);
  EXPECT_EQ(answer_->error().code, Code::kResourceExhausted);
  EXPECT_FALSE(last().open());
}

TEST_F(ClientTest, AStreamGivesPiecesAsTheyCome) {
  std::vector<std::string> names;
  auto reader = std::make_shared<ArrayReader>("items", [&names](const json& pod) -> Result<void> {
    names.push_back(string_at(pod, {"n"}));
    return {};
  });
  std::optional<Result<void>> done;
  auto call = fake_.client.stream(
      "/pods", [reader](ByteView bytes) { return reader->feed(bytes); },
      [&](Result<void> how) { done = std::move(how); });
  EXPECT_EQ(last().request.url, "https://api:6443/pods");
  last().head(200);
  last().data(R"({"items":[{"n":"a"},)");
  EXPECT_THAT(names, ElementsAre("a"));
  last().data(R"(5]})");
  ASSERT_TRUE(done);
  EXPECT_FALSE(done->ok());
}

class ListTest : public ClientTest {
 protected:
  ListHandlers handlers() {
    return {.on_item = [this](const json& item) { names_.push_back(string_at(item, {"n"})); },
            .on_restart = [this] { names_.emplace_back("restart"); },
            .on_done = [this](Result<std::string> at) { done_ = std::move(at); }};
  }

  std::vector<std::string> names_;
  std::optional<Result<std::string>> done_;
};

TEST_F(ListTest, GoesFromPageToPage) {
  auto call = fake_.client.list({kPods}, {.label_selector = "a in (b,c)"}, handlers());
  EXPECT_EQ(last().query("limit"), "500");
  EXPECT_EQ(last().query("labelSelector"), "a in (b,c)");
  EXPECT_EQ(last().query("continue"), "<none>");
  last().answer(200,
                R"({"metadata":{"resourceVersion":"5","continue":"c+1"},"items":[{"n":"a"}]})");
  EXPECT_EQ(last().query("continue"), "c+1");
  last().answer(200, R"({"items":[{"n":"b"}],"metadata":{"resourceVersion":"5"}})");
  EXPECT_THAT(names_, ElementsAre("a", "b"));
  ASSERT_TRUE(done_);
  EXPECT_EQ(**done_, "5");
}

TEST_F(ListTest, TellsItemsBeforeThePageIsComplete) {
  auto call = fake_.client.list({kPods}, {}, handlers());
  last().head(200);
  last().data(R"({"items":[{"n":"a"},{"n")");
  EXPECT_THAT(names_, ElementsAre("a"));
}

TEST_F(ListTest, AnExpiredContinueTokenBeginsAnewInOnePiece) {
  auto call = fake_.client.list({kPods}, {}, handlers());
  last().answer(200, R"({"metadata":{"continue":"c"},"items":[{"n":"a"}]})");
  last().answer(410, FakeClient::status(410, "Expired"));
  EXPECT_EQ(last().query("limit"), "<none>");
  EXPECT_EQ(last().query("continue"), "<none>");
  last().answer(200, R"({"metadata":{"resourceVersion":"9"},"items":[{"n":"a"},{"n":"b"}]})");
  EXPECT_THAT(names_, ElementsAre("a", "restart", "a", "b"));
  EXPECT_EQ(**done_, "9");
}

TEST_F(ListTest, ATornAnswerIsAnError) {
  auto call = fake_.client.list({kPods}, {}, handlers());
  last().answer(200, R"({"items":[{"n":"a"})");
  ASSERT_TRUE(done_);
  EXPECT_FALSE(done_->ok());
}

TEST_F(ListTest, MayBeGivenUpFromInsideAnItem) {
  CallPtr call;
  auto told = handlers();
  told.on_item = [&](const json& item) {
    names_.push_back(string_at(item, {"n"}));
    call.reset();
  };
  call = fake_.client.list({kPods}, {}, std::move(told));
  last().answer(200, R"({"items":[{"n":"a"},{"n":"b"}]})");
  EXPECT_THAT(names_, ElementsAre("a"));
  EXPECT_FALSE(done_);
}

class WatchTest : public ClientTest {
 protected:
  CallPtr watch() {
    return fake_.client.watch(
        {kPods}, {.resource_version = "5", .timeout = std::chrono::seconds(300)},
        {.on_event = [this](WatchEvent type, const json&) { events_.push_back(type); },
         .on_done = [this](Result<void> how) { done_ = std::move(how); }});
  }

  std::vector<WatchEvent> events_;
  std::optional<Result<void>> done_;
};

TEST_F(WatchTest, ReadsLinesHoweverTheyAreCut) {
  auto call = watch();
  EXPECT_EQ(last().query("watch"), "true");
  EXPECT_EQ(last().query("allowWatchBookmarks"), "true");
  EXPECT_EQ(last().query("resourceVersion"), "5");
  EXPECT_EQ(last().query("timeoutSeconds"), "300");
  last().head(200);
  for (char c : std::string("{\"type\":\"ADDED\",\"object\":{}}\n"
                            "{\"type\":\"BOOKMARK\",\"object\":{}}\n")) {
    last().data({&c, 1});
  }
  last().data("{\"type\":\"MODIFIED\",\"object\":{}}\n{\"type\":\"DELETED\",\"object\":{}}\n");
  EXPECT_THAT(events_, ElementsAre(WatchEvent::kAdded, WatchEvent::kBookmark, WatchEvent::kModified,
                                   WatchEvent::kDeleted));
  EXPECT_FALSE(done_);
  last().end();
  EXPECT_TRUE(done_->ok());
}

TEST_F(WatchTest, AnErrorEventIsItsStatus) {
  auto call = watch();
  last().head(200);
  last().data(R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})"
              "\n");
  ASSERT_TRUE(done_);
  EXPECT_TRUE(is_gone(done_->error()));
  EXPECT_FALSE(last().open());
}

TEST_F(WatchTest, MalformedLinesAndEndlessOnesEndIt) {
  for (const std::string& line :
       {std::string("nonsense\n"), std::string("{\"type\":\"ADDED\"}\n"),
        std::string("{\"type\":\"ODD\",\"object\":{}}\n"), std::string(kObjectBytesMax + 1, 'x')}) {
    done_.reset();
    auto call = watch();
    last().head(200);
    last().data(line);
    ASSERT_TRUE(done_);
    EXPECT_FALSE(done_->ok());
  }
}

TEST(BlockingClient, WaitsOnAWorkerForTheAnswerOnTheLoop) {
  class Answering final : public Transport {
   public:
    explicit Answering(io::Loop& loop) : loop_(loop) {}
    CallPtr start(HttpRequest, HttpEvents events) override {
      auto shared = std::make_shared<HttpEvents>(std::move(events));
      loop_.post([shared, silent = silent] {
        if (!silent) {
          shared->on_head({200, {}});
          shared->on_data(R"({"kind":"Node"})");
          shared->on_end({});
        }
      });
      return std::make_unique<Call>();
    }
    bool silent = false;

   private:
    class Call final : public kube::Call {};
    io::Loop& loop_;
  };
  io::LoopThread thread;
  thread.run([] {});  // it runs from here on
  Answering transport(thread.loop());
  FakeAccess access;
  Client client({thread.loop(), transport, access});
  BlockingClient patient(client);
  Result<ObjectPtr> node = patient.get({kNodes, "", "n"});
  ASSERT_TRUE(node.ok()) << node.error().message;
  EXPECT_EQ(view_at(**node, {"kind"}), "Node");
  thread.run([&] { transport.silent = true; });
  BlockingClient hasty(client, std::chrono::milliseconds(20));
  EXPECT_EQ(hasty.get({kNodes, "", "n"}).error().code, Code::kDeadlineExceeded);
  thread.run([] {});
}

}  // namespace
}  // namespace steeple::kube
