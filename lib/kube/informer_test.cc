// SPDX-License-Identifier: Apache-2.0

// Goal: the store follows the server through lists, streams, breaks and expired versions, and tells
// exactly what changed. Method: the scripted transport on simulated time.

#include "lib/kube/informer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/kube/fake_client.h"

namespace steeple::kube {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

std::string object(std::string_view name, std::string_view version, std::string_view value) {
  return json{{"metadata", {{"namespace", "d"}, {"name", name}, {"resourceVersion", version}}},
              {"value", value}}
      .dump();
}
std::string list(std::string_view version, std::string_view items) {
  return R"({"metadata":{"resourceVersion":")" + std::string(version) + R"("},"items":[)" +
         std::string(items) + "]}";
}
std::string event(std::string_view type, std::string_view what) {
  return R"({"type":")" + std::string(type) + R"(","object":)" + std::string(what) + "}\n";
}

class InformerTest : public testing::Test {
 protected:
  void start(InformerOptions options = {}) {
    informer_.emplace(
        Reflector::Deps{fake_.client, fake_.random}, Target{kPods}, options,
        [this](const json& from) -> std::optional<std::string> {
          ++decoded_;
          std::string value = string_at(from, {"value"});
          return value == "ignore" ? std::nullopt : std::optional(value);
        },
        InformerHandlers<std::string>{
            .added = [this](const std::string& key,
                            const std::string& now) { told_.push_back('+' + key + '=' + now); },
            .changed =
                [this](const std::string& key, const std::string& old, const std::string& now) {
                  told_.push_back('~' + key + '=' + old + '>' + now);
                },
            .deleted = [this](const std::string& key,
                              const std::string& old) { told_.push_back('-' + key + '=' + old); },
            .synced = [this] { told_.emplace_back("synced"); },
            .troubled = [this](const Error&, Duration wait) { waits_.push_back(wait); }});
    informer_->start();
  }
  // Lists a=1 and b=2 at version 10 and opens the stream.
  void start_with_two(InformerOptions options = {}) {
    start(options);
    last().answer(200, list("10", object("a", "1", "1") + "," + object("b", "2", "2")));
    told_.clear();
    ASSERT_EQ(last().query("watch"), "true");
    last().head(200);
  }
  FakeExchange& last() { return fake_.transport.last(); }
  std::vector<std::string> told() { return std::exchange(told_, {}); }

  FakeClient fake_;
  std::vector<std::string> told_;
  std::vector<Duration> waits_;
  int decoded_ = 0;
  std::optional<Informer<std::string>> informer_;
};

TEST_F(InformerTest, ListsThenWatchesFromTheListsVersion) {
  start();
  last().answer(200, list("10", object("a", "1", "1")));
  EXPECT_THAT(told(), ElementsAre("+d/a=1", "synced"));
  EXPECT_EQ(last().query("resourceVersion"), "10");
  EXPECT_EQ(last().query("allowWatchBookmarks"), "true");
  ASSERT_NE(informer_->find("d/a"), nullptr);
  EXPECT_EQ(*informer_->find("d/a"), "1");
}

TEST_F(InformerTest, TellsChangesWithOldAndNew) {
  start_with_two();
  last().data(event("ADDED", object("c", "11", "3")) + event("MODIFIED", object("a", "12", "9")) +
              event("DELETED", object("b", "13", "2")));
  EXPECT_THAT(told(), ElementsAre("+d/c=3", "~d/a=1>9", "-d/b=2"));
  EXPECT_EQ(informer_->size(), 2U);
}

TEST_F(InformerTest, AnObjectThatBecomesUninterestingIsDeleted) {
  start_with_two();
  last().data(event("MODIFIED", object("a", "11", "ignore")));
  EXPECT_THAT(told(), ElementsAre("-d/a=1"));
  last().data(event("DELETED", object("a", "12", "ignore")));
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(InformerTest, AStreamThatEndsIsResumedWithoutAList) {
  start_with_two();
  last().data(event("MODIFIED", object("a", "11", "9")));
  last().end();
  EXPECT_EQ(last().query("resourceVersion"), "11");
  EXPECT_EQ(informer_->reflector().lists(), 1U);
  EXPECT_THAT(waits_, IsEmpty());
}

TEST_F(InformerTest, ABookmarkMovesTheVersionAndTellsNothing) {
  start_with_two();
  last().data(event("BOOKMARK", R"({"metadata":{"resourceVersion":"500"}})"));
  last().end();
  EXPECT_EQ(last().query("resourceVersion"), "500");
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(InformerTest, AnExpiredVersionIsListedAnewAndOnlyDifferencesAreTold) {
  start_with_two();
  int decoded = decoded_;
  last().data(event("ERROR", FakeClient::status(410, "Expired")));
  ASSERT_EQ(last().query("watch"), "<none>");
  last().answer(200, list("90", object("a", "1", "1") + "," + object("c", "80", "3")));
  EXPECT_THAT(told(), ElementsAre("+d/c=3", "-d/b=2"));
  EXPECT_EQ(decoded_, decoded + 1) << "what is known is not decoded again";
  EXPECT_EQ(last().query("resourceVersion"), "90");
}

TEST_F(InformerTest, AListThatBreaksInTheMiddleDeletesNothing) {
  start_with_two();
  last().data(event("ERROR", FakeClient::status(410, "Expired")));
  last().head(200);
  last().data(R"({"items":[)" + object("a", "1", "1"));
  last().fail(unavailable("reset"));
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_EQ(informer_->size(), 2U);
  ASSERT_EQ(waits_.size(), 2U);
  fake_.advance(waits_.back());
  last().answer(200, list("91", object("a", "1", "1")));
  EXPECT_THAT(told(), ElementsAre("-d/b=2"));
}

TEST_F(InformerTest, BreaksAreRetriedWithGrowingWaits) {
  start();
  for (int i = 0; i < 12; ++i) {
    last().fail(unavailable("connection refused"));
    std::size_t count = fake_.transport.count();
    fake_.advance(waits_.back() - std::chrono::nanoseconds(1));
    ASSERT_EQ(fake_.transport.count(), count) << "not before its time";
    fake_.advance(std::chrono::nanoseconds(1));
    ASSERT_EQ(fake_.transport.count(), count + 1);
  }
  EXPECT_LE(waits_.front(), std::chrono::milliseconds(300));
  EXPECT_GE(waits_.back(), std::chrono::seconds(15));
  EXPECT_LE(waits_.back(), std::chrono::seconds(45));
}

TEST_F(InformerTest, ABreakOfTheStreamKeepsTheVersion) {
  start_with_two();
  last().fail(unavailable("reset"));
  fake_.advance(waits_.back());
  EXPECT_EQ(last().query("resourceVersion"), "10");
  EXPECT_EQ(last().query("watch"), "true");
}

TEST_F(InformerTest, RetryAfterIsRespected) {
  start();
  last().answer(429, FakeClient::status(429, "TooManyRequests"), {{"retry-after", "20"}});
  EXPECT_GE(waits_.back(), std::chrono::seconds(20));
}

TEST_F(InformerTest, AServerThatClosesStreamsAtOnceIsNotHurried) {
  start_with_two();
  last().end();
  EXPECT_EQ(waits_.size(), 1U);
  std::size_t count = fake_.transport.count();
  fake_.run();
  EXPECT_EQ(fake_.transport.count(), count);
}

TEST_F(InformerTest, AVersionThatTheServerKeepsRefusingIsGivenUp) {
  start_with_two();
  for (int i = 0; i < 3; ++i) {
    last().answer(504, FakeClient::status(504, "Timeout", "Too large resource version"));
    fake_.advance(waits_.back());
    last().head(200);
  }
  EXPECT_EQ(informer_->reflector().lists(), 2U);
}

TEST_F(InformerTest, AResyncTellsEveryObject) {
  start_with_two({.reflector = {}, .resync = std::chrono::minutes(10)});
  fake_.advance(std::chrono::minutes(10));
  EXPECT_THAT(told(), testing::UnorderedElementsAre("~d/a=1>1", "~d/b=2>2"));
  fake_.advance(std::chrono::minutes(10));
  EXPECT_EQ(told().size(), 2U);
}

TEST_F(InformerTest, SelectorsGoWithListAndWatch) {
  start({.reflector = {.label_selector = "a=b", .field_selector = "spec.nodeName=n"}});
  EXPECT_EQ(last().query("labelSelector"), "a=b");
  last().answer(200, list("10", ""));
  EXPECT_EQ(last().query("labelSelector"), "a=b");
  EXPECT_EQ(last().query("fieldSelector"), "spec.nodeName=n");
  EXPECT_TRUE(informer_->synced());
}

TEST_F(InformerTest, DestructionIsSilent) {
  start_with_two();
  informer_.reset();
  EXPECT_EQ(fake_.transport.open(), 0U);
  EXPECT_THAT(told(), IsEmpty());
}

}  // namespace
}  // namespace steeple::kube
