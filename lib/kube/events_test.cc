// SPDX-License-Identifier: Apache-2.0

// Goal: events are told once and counted, storms are held back, and nothing is lost silently.
// Method: the scripted API server on simulated time.

#include "lib/kube/events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/kube/fake_client.h"

namespace steeple::kube {
namespace {

using nlohmann::json;
using testing::StartsWith;
using namespace std::chrono_literals;

class EventsTest : public testing::Test {
 protected:
  static Event event(std::string message, std::string name = "web") {
    return {.about = {.api_version = "v1",
                      .kind = "Pod",
                      .name_space = "shop",
                      .name = std::move(name),
                      .uid = "u"},
            .type = EventType::kWarning,
            .reason = "EntryFailed",
            .message = std::move(message)};
  }
  FakeExchange& last() { return fake_.transport.last(); }
  json sent() { return json::parse(last().request.body); }
  void accept() {
    json body = sent();
    last().answer(201, body.dump());
  }

  FakeClient fake_;
  std::vector<Error> troubles_;
  EventRecorder recorder_{{fake_.client, fake_.random},
                          {.component = "manager", .instance = "manager-0"},
                          [this](const Error& error) { troubles_.push_back(error); }};
};

TEST_F(EventsTest, AnEventIsMadeBesideItsObject) {
  recorder_.record(event("no node"));
  EXPECT_EQ(last().request.method, "POST");
  EXPECT_EQ(last().path(), "/api/v1/namespaces/shop/events");
  json body = sent();
  EXPECT_THAT(body["metadata"]["name"].get<std::string>(), StartsWith("web."));
  EXPECT_EQ(body["involvedObject"]["uid"], "u");
  EXPECT_EQ(body["type"], "Warning");
  EXPECT_EQ(body["reason"], "EntryFailed");
  EXPECT_EQ(body["message"], "no node");
  EXPECT_EQ(body["count"], 1);
  EXPECT_EQ(body["firstTimestamp"], "2030-01-01T00:00:00Z");
  EXPECT_EQ(body["source"]["component"], "manager");
  accept();
  EXPECT_TRUE(recorder_.idle());
  EXPECT_EQ(recorder_.sent(), 1U);
}

TEST_F(EventsTest, TheSameAgainRaisesTheCountOfTheFirst) {
  recorder_.record(event("x"));
  std::string name = sent()["metadata"]["name"];
  accept();
  fake_.advance(5s);
  recorder_.record(event("x"));
  EXPECT_EQ(last().request.method, "PATCH");
  EXPECT_EQ(last().path(), "/api/v1/namespaces/shop/events/" + name);
  EXPECT_EQ(sent()["count"], 2);
  EXPECT_EQ(sent()["lastTimestamp"], "2030-01-01T00:00:05Z");
}

TEST_F(EventsTest, RepetitionsWhileItIsOnItsWayBecomeOneUpdate) {
  recorder_.record(event("x"));
  recorder_.record(event("x"));
  recorder_.record(event("x"));
  EXPECT_EQ(fake_.transport.count(), 1U);
  accept();
  EXPECT_EQ(last().request.method, "PATCH");
  EXPECT_EQ(sent()["count"], 3);
  accept();
  EXPECT_TRUE(recorder_.idle());
}

TEST_F(EventsTest, AnEventThatTheServerForgotIsMadeAnew) {
  recorder_.record(event("x"));
  accept();
  recorder_.record(event("x"));
  last().answer(404, FakeClient::status(404, "NotFound"));
  EXPECT_EQ(last().request.method, "POST");
  EXPECT_EQ(sent()["count"], 1);
}

TEST_F(EventsTest, ManyTextsOfOneKindAreCombined) {
  for (int i = 0; i < 10; ++i) {
    recorder_.record(event("text " + std::to_string(i)));
    accept();
  }
  recorder_.record(event("text 10"));
  EXPECT_EQ(sent()["message"], "(combined from similar events): text 10");
  accept();
  recorder_.record(event("text 11"));
  EXPECT_EQ(last().request.method, "PATCH");
  EXPECT_EQ(sent()["count"], 2);
  EXPECT_EQ(sent()["message"], "(combined from similar events): text 11");
}

TEST_F(EventsTest, AStormOfOneObjectIsCutOffAndOthersAreNot) {
  for (int i = 0; i < 30; ++i) {
    recorder_.record(event("x"));
  }
  EXPECT_EQ(recorder_.dropped(), 5U);
  recorder_.record(event("x", "other"));
  EXPECT_EQ(recorder_.dropped(), 5U);
  fake_.advance(5min);
  recorder_.record(event("x"));
  EXPECT_EQ(recorder_.dropped(), 5U) << "one more after each interval";
  recorder_.record(event("x"));
  EXPECT_EQ(recorder_.dropped(), 6U);
}

TEST_F(EventsTest, ARefusedEventIsDroppedAndTold) {
  recorder_.record(event("x"));
  last().answer(403, FakeClient::status(403, "Forbidden"));
  ASSERT_EQ(troubles_.size(), 1U);
  EXPECT_EQ(troubles_[0].code, Code::kPermissionDenied);
  EXPECT_TRUE(recorder_.idle());
}

TEST_F(EventsTest, AServerThatIsAwayIsTriedAgain) {
  recorder_.record(event("x"));
  last().fail(unavailable("refused"));
  EXPECT_FALSE(recorder_.idle());
  fake_.advance(2s);
  EXPECT_EQ(fake_.transport.count(), 2U);
  accept();
  EXPECT_TRUE(recorder_.idle());
  EXPECT_EQ(recorder_.dropped(), 0U);
}

TEST_F(EventsTest, AFullQueueDropsAndCounts) {
  for (int i = 0; i < 300; ++i) {
    recorder_.record(event("x", "pod-" + std::to_string(i)));
  }
  EXPECT_EQ(recorder_.dropped(), 300U - 256U);
}

TEST_F(EventsTest, LongMessagesAreCutAtACharacter) {
  std::string text;
  while (text.size() < 1100) {
    text += "é";
  }
  recorder_.record(event(text));
  std::string message = sent()["message"];
  EXPECT_LE(message.size(), 1024U);
  EXPECT_TRUE(message.ends_with("é..."));
}

}  // namespace
}  // namespace steeple::kube
