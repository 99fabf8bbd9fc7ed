// SPDX-License-Identifier: Apache-2.0

// Goal: lib/kube and a real kube-apiserver understand each other. Method: run.py starts the server
// and names its folder (kubeconfig, pid, keys); the tests run on one real loop. Waiting is for
// events, under one watchdog.

#include "lib/kube/client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "lib/io/asio_loop.h"
#include "lib/io/directory.h"
#include "lib/kube/access.h"
#include "lib/kube/curl_transport.h"
#include "lib/kube/events.h"
#include "lib/kube/informer.h"
#include "lib/kube/leader_election.h"
#include "lib/kube/token_review.h"

namespace steeple::kube {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;

std::string folder() {
  const char* name = std::getenv("STEEPLE_KUBE_FOLDER");
  return name == nullptr ? "" : name;
}

class RealServer : public testing::Test {
 protected:
  void SetUp() override {
    if (folder().empty()) {
      GTEST_SKIP() << "run it through tests/kubernetes/client/run.py";
    }
    name_space_ = "t" + std::to_string(random_.below(1'000'000'000));
    must(client_.create({kNamespaces}, {{"metadata", {{"name", name_space_}}}}, {}, keep()));
  }

  // Runs the loop until `done`, or the test fails.
  void run_until(const std::function<bool()>& done, Duration at_most = 60s) {
    bool late = false;
    io::Timer watchdog(loop_);
    watchdog.start(at_most, [&] { late = true; });
    io::Timer turn(loop_);
    std::function<void()> look = [&] {
      if (done() || late) {
        loop_.stop();
      } else {
        turn.start(1ms, [&] { look(); });
      }
    };
    look();
    loop_.run();
    ASSERT_FALSE(late) << "it did not happen in time";
  }
  ObjectHandler keep() {
    answer_.reset();
    return [this](Result<ObjectPtr> answer) { answer_ = std::move(answer); };
  }
  Result<ObjectPtr> result(CallPtr call) {
    run_until([this] { return answer_.has_value(); });
    call.reset();
    return answer_ ? std::move(*answer_) : Result<ObjectPtr>(internal("no answer"));
  }
  json must(CallPtr call) {
    auto answer = result(std::move(call));
    if (!answer.ok()) {
      ADD_FAILURE() << answer.error().message;
      return json::object();
    }
    return **answer;
  }
  static json config_map(const std::string& name, const std::string& value) {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", {{"name", name}, {"labels", {{"app", "x"}}}}},
            {"data", {{"key", value}}}};
  }
  Target maps(std::string name = "") const { return {kConfigMaps, name_space_, std::move(name)}; }
  void kill_server() { ::kill(std::stoi(io::read_file(folder() + "/pid", 100).take()), SIGKILL); }

  Random& random_ = system_random();
  io::AsioLoop loop_;
  std::unique_ptr<Access> access_ = make_access(
      load_kubeconfig(folder().empty() ? "" : folder() + "/kubeconfig").value_or(AccessConfig{}),
      system_clock());
  CurlTransport transport_{loop_};
  Client client_{{loop_, transport_, *access_}};
  std::string name_space_;
  std::optional<Result<ObjectPtr>> answer_;
};

// TCP connections that this process has to the server's port.
std::size_t connections(std::uint16_t port) {
  std::size_t count = 0;
  for (int fd = 3; fd < 256; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
        peer.sin_family == AF_INET && ntohs(peer.sin_port) == port) {
      ++count;
    }
  }
  return count;
}

TEST_F(RealServer, WritesReadsAndConflicts) {
  json made = must(client_.create(maps(), config_map("a", "1"), {}, keep()));
  EXPECT_EQ(result(client_.create(maps(), config_map("a", "1"), {}, keep())).error().code,
            Code::kAlreadyExists);
  json newer = made;
  newer["data"]["key"] = "2";
  must(client_.update(maps("a"), newer, {}, keep()));
  auto stale = result(client_.update(maps("a"), newer, {}, keep()));
  EXPECT_TRUE(is_conflict(stale.error())) << stale.error().message;
  json merged = must(client_.patch(maps("a"), {{"data", {{"more", "3"}}}}, {}, keep()));
  EXPECT_EQ(merged["data"], json({{"key", "2"}, {"more", "3"}}));
  json patched = must(client_.patch(
      maps("a"), json::array({{{"op", "replace"}, {"path", "/data/key"}, {"value", "4"}}}),
      {.type = PatchType::kJson}, keep()));
  EXPECT_EQ(patched["data"]["key"], "4");
  auto wrong = result(client_.remove(maps("a"), {.uid = "other"}, keep()));
  EXPECT_TRUE(is_conflict(wrong.error()));
  must(client_.remove(maps("a"), {}, keep()));
  auto gone = result(client_.get(maps("a"), keep()));
  EXPECT_EQ(gone.error().code, Code::kNotFound);
  EXPECT_EQ(api_status(gone.error())->reason, "NotFound");
}

TEST_F(RealServer, ServerSideApplyRespectsOwnersUntilForced) {
  json object = config_map("applied", "1");
  must(client_.patch(maps("applied"), object, {.type = PatchType::kApply, .field_manager = "first"},
                     keep()));
  object["data"]["key"] = "2";
  auto refused = result(client_.patch(
      maps("applied"), object, {.type = PatchType::kApply, .field_manager = "second"}, keep()));
  EXPECT_TRUE(is_conflict(refused.error())) << refused.error().message;
  json taken = must(
      client_.patch(maps("applied"), object,
                    {.type = PatchType::kApply, .field_manager = "second", .force = true}, keep()));
  EXPECT_EQ(taken["data"]["key"], "2");
}

TEST_F(RealServer, StatusIsASubresource) {
  json space = must(client_.get({kNamespaces, "", name_space_}, keep()));
  space["status"]["phase"] = "Active";
  json answer = must(client_.update({kNamespaces, "", name_space_, "status"}, space, {}, keep()));
  EXPECT_EQ(answer["status"]["phase"], "Active");
}

TEST_F(RealServer, ListsPageByPage) {
  std::size_t made = 0;
  std::vector<CallPtr> calls;
  for (int i = 0; i < 60; ++i) {
    calls.push_back(client_.create(maps(), config_map("m" + std::to_string(i), "v"), {},
                                   [&made](Result<ObjectPtr> answer) { made += answer.ok(); }));
  }
  run_until([&] { return made == 60; });
  std::size_t items = 0;
  std::optional<Result<std::string>> done;
  auto call = client_.list(maps(), {.label_selector = "app=x", .page = 7},
                           {.on_item = [&items](const json&) { ++items; },
                            .on_restart = [] {},
                            .on_done = [&done](Result<std::string> at) { done = std::move(at); }});
  run_until([&] { return done.has_value(); });
  ASSERT_TRUE(done->ok()) << done->error().message;
  EXPECT_EQ(items, 60U);
}

TEST_F(RealServer, AnInformerFollowsAndRequestsShareTheOtherConnection) {
  std::vector<std::string> told;
  std::optional<Informer<std::string>> informer;
  informer.emplace(
      Reflector::Deps{client_, random_}, maps(),
      InformerOptions{.reflector = {.label_selector = "app=x"}},
      [](const json& from) { return std::optional(string_at(from, {"data", "key"})); },
      InformerHandlers<std::string>{
          .added = [&](const std::string&, const std::string& now) { told.push_back('+' + now); },
          .changed = [&](const std::string&, const std::string& old,
                         const std::string& now) { told.push_back(old + '>' + now); },
          .deleted = [&](const std::string&,
                         const std::string& old) { told.push_back('-' + old); }});
  informer->start();
  run_until([&] { return informer->synced(); });
  SteadyTime began = system_clock().steady();
  json object = must(client_.create(maps(), config_map("a", "1"), {}, keep()));
  run_until([&] { return told.size() == 1; });
  auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(system_clock().steady() - began);
  std::printf("figure: object made and told by the informer in %ld us\n", long{took.count()});
  object["data"]["key"] = "2";
  must(client_.update(maps("a"), object, {}, keep()));
  must(client_.remove(maps("a"), {}, keep()));
  run_until([&] { return told.size() == 3; });
  EXPECT_THAT(told, testing::ElementsAre("+1", "1>2", "-2"));
  std::string server = access_->server();
  EXPECT_EQ(
      connections(static_cast<std::uint16_t>(std::stoi(server.substr(server.rfind(':') + 1)))), 2U)
      << "the watch's, and that of the requests: on one, over HTTP/2, libcurl stalls";
}

TEST_F(RealServer, AnInformerSurvivesTheServersDeath) {
  std::set<std::string> there;
  std::size_t troubles = 0;
  Informer<std::string> informer(
      {client_, random_}, maps(), {},
      [](const json& from) { return std::optional(string_at(from, {"metadata", "name"})); },
      {.added = [&](const std::string&, const std::string& now) { there.insert(now); },
       .deleted = [&](const std::string&, const std::string& old) { there.erase(old); },
       .troubled = [&](const Error&, Duration) { ++troubles; }});
  informer.start();
  run_until([&] { return informer.synced(); });
  kill_server();
  run_until([&] { return troubles > 0; });
  // Tries until the new server takes it.
  std::optional<bool> made;
  CallPtr call;
  io::Timer again(loop_);
  std::function<void()> create = [&] {
    call = client_.create(maps(), config_map("after", "1"), {}, [&](Result<ObjectPtr> answer) {
      if (answer.ok() || answer.error().code == Code::kAlreadyExists) {
        made = true;
      } else {
        again.start(200ms, [&] { create(); });
      }
    });
  };
  create();
  run_until([&] { return made.has_value(); }, 120s);
  run_until([&] { return there.contains("after"); }, 60s);
  std::printf("figure: lists %lu, watches %lu over a restart of the API server\n",
              informer.reflector().lists(), informer.reflector().watches());
}

TEST_F(RealServer, AVersionFromLongAgoIsGone) {
  std::optional<Result<void>> done;
  auto call = client_.watch({kNamespaces}, {.resource_version = "1"},
                            {.on_event = [](WatchEvent, const json&) {},
                             .on_done = [&done](Result<void> how) { done = std::move(how); }});
  run_until([&] { return done.has_value(); });
  ASSERT_FALSE(done->ok());
  EXPECT_TRUE(is_gone(done->error())) << done->error().message;
}

class WithToken : public RealServer {
 protected:
  std::string token(const std::string& audience = "") {
    Target account{kServiceAccounts, name_space_, "robot"};
    (void)result(client_.create({kServiceAccounts, name_space_},
                                {{"metadata", {{"name", "robot"}}}}, {}, keep()));
    account.subresource = "token";
    json spec = json::object();
    if (!audience.empty()) {
      spec["audiences"] = {audience};
    }
    json answer = must(client_.create(
        account,
        {{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", spec}}, {},
        keep()));
    return string_at(answer, {"status", "token"});
  }
  TokenReview review(const std::string& text, const std::vector<std::string>& audiences) {
    std::optional<Result<TokenReview>> done;
    auto call = review_token(client_, text, audiences,
                             [&done](Result<TokenReview> answer) { done = std::move(answer); });
    run_until([&] { return done.has_value(); });
    return std::move(*done).take();
  }
};

TEST_F(WithToken, ReviewsSayWhoseItIsAndForWhom) {
  std::string text = token("spire-server");
  TokenReview good = review(text, {"spire-server", "other"});
  EXPECT_TRUE(good.authenticated) << good.error;
  EXPECT_EQ(good.username, "system:serviceaccount:" + name_space_ + ":robot");
  EXPECT_THAT(good.audiences, testing::ElementsAre("spire-server"));
  EXPECT_THAT(good.groups, testing::Contains("system:serviceaccounts"));
  EXPECT_FALSE(review(text, {"other"}).authenticated);
  EXPECT_FALSE(review("nonsense", {"spire-server"}).authenticated);
}

TEST_F(WithToken, ARotatedTokenFileIsTakenUpAfterA401) {
  std::string file = folder() + "/token-" + name_space_;
  io::write_file(file, "expired", 0600).take();
  AccessConfig config = load_kubeconfig(folder() + "/kubeconfig").take();
  config.cert_file.clear();
  config.key_file.clear();
  config.token_file = file;
  auto access = make_access(config, system_clock());
  Client robot({loop_, transport_, *access});
  EXPECT_EQ(result(robot.get(maps("x"), keep())).error().code, Code::kUnauthenticated);
  io::write_file(file, token(), 0600).take();
  // Known now, and without any right: that is a 403.
  EXPECT_EQ(result(robot.get(maps("x"), keep())).error().code, Code::kPermissionDenied);
}

TEST_F(RealServer, LeadershipPassesAtOnceWhenLetGo) {
  std::string leader;
  auto handlers = [&leader](const std::string& name) {
    return LeaderElectionHandlers{.on_leading = [&leader, name] { leader = name; },
                                  .on_lost = [] {},
                                  .on_leader = {},
                                  .on_trouble = {}};
  };
  LeaderElectionOptions options{.name_space = name_space_, .name = "lock", .identity = "a"};
  LeaderElection a({client_, random_}, options, handlers("a"));
  a.start();
  run_until([&] { return leader == "a"; });
  options.identity = "b";
  LeaderElection b({client_, random_}, options, handlers("b"));
  b.start();
  run_until([&] { return b.leader() == "a"; });
  SteadyTime began = system_clock().steady();
  a.stop([] {});
  run_until([&] { return leader == "b"; }, 10s);
  auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(system_clock().steady() - began);
  std::printf("figure: leadership passed on in %ld ms\n", long{took.count()});
  json lease = must(client_.get({kLeases, name_space_, "lock"}, keep()));
  EXPECT_EQ(lease["spec"]["holderIdentity"], "b");
  EXPECT_EQ(lease["spec"]["leaseDurationSeconds"], 15);
  bool stopped = false;
  b.stop([&stopped] { stopped = true; });
  run_until([&] { return stopped; });
}

TEST_F(RealServer, EventsArriveAndAreCounted) {
  EventRecorder recorder({client_, random_}, {.component = "steeple-test", .instance = "one"},
                         [](const Error& error) { ADD_FAILURE() << error.message; });
  for (int i = 0; i < 3; ++i) {
    recorder.record({.about = {.api_version = "v1",
                               .kind = "ConfigMap",
                               .name_space = name_space_,
                               .name = "a"},
                     .type = EventType::kWarning,
                     .reason = "Tested",
                     .message = "it works"});
  }
  run_until([&] { return recorder.idle(); });
  std::vector<json> events;
  std::optional<bool> done;
  auto call = client_.list({kEvents, name_space_}, {.field_selector = "reason=Tested"},
                           {.on_item = [&events](const json& item) { events.push_back(item); },
                            .on_restart = [] {},
                            .on_done = [&done](Result<std::string> at) { done = at.ok(); }});
  run_until([&] { return done.has_value(); });
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0]["count"], 3);
  EXPECT_EQ(events[0]["involvedObject"]["name"], "a");
}

TEST_F(RealServer, MetadataIsEnoughForSome) {
  must(client_.create(maps(), config_map("a", "1"), {}, keep()));
  std::vector<json> items;
  std::optional<bool> done;
  auto call = client_.list(maps(), {.field_selector = "metadata.name=a", .metadata_only = true},
                           {.on_item = [&items](const json& item) { items.push_back(item); },
                            .on_restart = [] {},
                            .on_done = [&done](Result<std::string> at) { done = at.ok(); }});
  run_until([&] { return done.has_value(); });
  ASSERT_EQ(items.size(), 1U);
  EXPECT_FALSE(items[0].contains("data"));
  EXPECT_EQ(items[0]["kind"], "PartialObjectMetadata");
}

}  // namespace
}  // namespace steeple::kube
