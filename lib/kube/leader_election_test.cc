// SPDX-License-Identifier: Apache-2.0

// Goal: at most one leads, a leader that cannot renew stops in time, and a candidate takes over as
// soon as it may. Method: the scripted API server on simulated time.

#include "lib/kube/leader_election.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/kube/fake_client.h"

namespace steeple::kube {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

std::string lease(std::string_view holder, std::string_view version, std::string_view renewed = "r",
                  int seconds = 15) {
  return json{{"metadata", {{"name", "l"}, {"namespace", "ns"}, {"resourceVersion", version}}},
              {"spec",
               {{"holderIdentity", holder},
                {"leaseDurationSeconds", seconds},
                {"leaseTransitions", 4},
                {"acquireTime", "2029-01-01T00:00:00.000000Z"},
                {"renewTime", renewed}}}}
      .dump();
}

class LeaderElectionTest : public testing::Test {
 protected:
  LeaderElectionTest()
      : election_({fake_.client, fake_.random}, {.name_space = "ns", .name = "l", .identity = "me"},
                  {.on_leading = [this] { told_.emplace_back("leading"); },
                   .on_lost = [this] { told_.emplace_back("lost"); },
                   .on_leader = [this](const std::string& who) { told_.push_back("is " + who); }}) {
    election_.start();
  }
  FakeExchange& last() { return fake_.transport.last(); }
  json sent() { return json::parse(last().request.body); }
  // Answers a write as the server does: with what was written, at the next version.
  void accept() {
    json object = sent();
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    last().answer(200, object.dump());
  }
  void lead() {
    last().answer(404, FakeClient::status(404, "NotFound"));
    accept();
    told_.clear();
  }
  std::vector<std::string> told() { return std::exchange(told_, {}); }

  FakeClient fake_;
  std::vector<std::string> told_;
  int version_ = 100;
  LeaderElection election_;
};

TEST_F(LeaderElectionTest, ALeaseThatIsNotThereIsMade) {
  EXPECT_EQ(last().path(), "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l");
  last().answer(404, FakeClient::status(404, "NotFound"));
  EXPECT_EQ(last().request.method, "POST");
  json spec = sent()["spec"];
  EXPECT_EQ(spec["holderIdentity"], "me");
  EXPECT_EQ(spec["leaseDurationSeconds"], 15);
  EXPECT_EQ(spec["leaseTransitions"], 0);
  EXPECT_EQ(spec["renewTime"], "2030-01-01T00:00:00.000000Z");
  EXPECT_FALSE(election_.leading());
  accept();
  EXPECT_THAT(told(), ElementsAre("is me", "leading"));
}

TEST_F(LeaderElectionTest, ALeaderRenewsEveryTwoSecondsWithTheVersionItHas) {
  lead();
  fake_.advance(2s);
  EXPECT_EQ(last().request.method, "PUT");
  EXPECT_EQ(sent()["metadata"]["resourceVersion"], "101");
  EXPECT_EQ(sent()["spec"]["renewTime"], "2030-01-01T00:00:02.000000Z");
  EXPECT_EQ(sent()["spec"]["acquireTime"], "2030-01-01T00:00:00.000000Z");
  accept();
  fake_.advance(2s);
  EXPECT_EQ(sent()["metadata"]["resourceVersion"], "102");
}

TEST_F(LeaderElectionTest, ALeaderThatCannotRenewStopsBeforeAnotherMayBegin) {
  lead();
  fake_.advance(2s);
  last().fail(unavailable("refused"));
  fake_.advance(7s);
  EXPECT_TRUE(election_.leading());
  fake_.advance(1s);  // ten seconds after the last success
  EXPECT_FALSE(election_.leading());
  EXPECT_THAT(told(), ElementsAre("lost"));
}

TEST_F(LeaderElectionTest, AnAnswerThatNeverComesCountsAsNone) {
  lead();
  fake_.advance(9s);
  EXPECT_TRUE(election_.leading());
  fake_.advance(1s);
  EXPECT_THAT(told(), ElementsAre("lost"));
}

TEST_F(LeaderElectionTest, TheDeadlineCountsFromWhenTheRenewalWasSent) {
  lead();
  fake_.advance(2s);
  fake_.advance(6s);
  accept();  // sent at 2 s, answered at 8 s
  fake_.advance(4s - 1ns);
  EXPECT_TRUE(election_.leading());
  fake_.advance(1ns);
  EXPECT_FALSE(election_.leading());
}

TEST_F(LeaderElectionTest, ACandidateWatchesInsteadOfAsking) {
  last().answer(200, lease("other", "7"));
  EXPECT_THAT(told(), ElementsAre("is other"));
  EXPECT_EQ(last().query("fieldSelector"), "metadata.name=l");
  EXPECT_EQ(last().query("resourceVersion"), "7");
  std::size_t count = fake_.transport.count();
  fake_.advance(14s);
  EXPECT_EQ(fake_.transport.count(), count);
}

TEST_F(LeaderElectionTest, ACandidateTakesOverAtOnceWhenTheLeaderLetsGo) {
  last().answer(200, lease("other", "7"));
  last().head(200);
  last().data(R"({"type":"MODIFIED","object":)" + lease("", "8") + "}\n");
  EXPECT_EQ(last().request.method, "PUT");
  EXPECT_EQ(sent()["metadata"]["resourceVersion"], "8");
  EXPECT_EQ(sent()["spec"]["leaseTransitions"], 5);
  accept();
  EXPECT_TRUE(election_.leading());
}

TEST_F(LeaderElectionTest, RenewalsOfTheOtherPutTheTakeoverOff) {
  last().answer(200, lease("other", "7"));
  FakeExchange& watch = last();
  watch.head(200);
  fake_.advance(14s);
  watch.data(R"({"type":"MODIFIED","object":)" + lease("other", "8", "later") + "}\n");
  std::size_t count = fake_.transport.count();
  fake_.advance(15s - 1ns);
  EXPECT_EQ(fake_.transport.count(), count);
  fake_.advance(1ns);
  ASSERT_EQ(fake_.transport.count(), count + 1) << "the lease ran out: look";
  last().answer(200, lease("other", "8", "later"));
  EXPECT_EQ(last().request.method, "PUT");
}

TEST_F(LeaderElectionTest, TheWallClockOfOthersDoesNotMatter) {
  last().answer(200, lease("other", "7", "1999-01-01T00:00:00.000000Z"));
  EXPECT_EQ(last().query("watch"), "true") << "it may still lead, for all that we know";
}

TEST_F(LeaderElectionTest, WhoLosesTheRaceAsksAgain) {
  last().answer(404, FakeClient::status(404, "NotFound"));
  last().answer(409, FakeClient::status(409, "AlreadyExists"));
  EXPECT_THAT(told(), IsEmpty());
  fake_.advance(3s);
  EXPECT_EQ(last().request.method, "GET");
}

TEST_F(LeaderElectionTest, AConflictOfTheLeaderIsLookedAt) {
  lead();
  fake_.advance(2s);
  last().answer(409, FakeClient::status(409, "Conflict"));
  EXPECT_EQ(last().request.method, "GET");
  last().answer(200, lease("me", "200"));
  EXPECT_EQ(sent()["metadata"]["resourceVersion"], "200");
  last().answer(409, FakeClient::status(409, "Conflict"));
  last().answer(200, lease("thief", "201"));
  EXPECT_THAT(told(), ElementsAre("is thief", "lost"));
}

TEST_F(LeaderElectionTest, StoppingTellsFirstAndThenLetsGo) {
  lead();
  bool done = false;
  election_.stop([&done] { done = true; });
  EXPECT_THAT(told(), ElementsAre("lost"));
  EXPECT_EQ(sent()["spec"]["holderIdentity"], "");
  EXPECT_EQ(sent()["spec"]["leaseDurationSeconds"], 1);
  EXPECT_FALSE(done);
  accept();
  fake_.run();
  EXPECT_TRUE(done);
  fake_.advance(1min);
  EXPECT_EQ(fake_.transport.open(), 0U);
}

TEST_F(LeaderElectionTest, StoppingDoesNotWaitForAServerThatIsGone) {
  lead();
  bool done = false;
  election_.stop([&done] { done = true; });
  fake_.advance(10s);
  EXPECT_TRUE(done);
}

TEST_F(LeaderElectionTest, ACandidateStopsAtOnce) {
  last().answer(200, lease("other", "7"));
  bool done = false;
  election_.stop([&done] { done = true; });
  fake_.run();
  EXPECT_TRUE(done);
  EXPECT_EQ(fake_.transport.open(), 0U);
}

}  // namespace
}  // namespace steeple::kube
