// SPDX-License-Identifier: Apache-2.0

// The engine against a SPIRE server in memory, real RPC between them, on simulated time. Facts are
// put in directly; the API server is controller_test's business.

#include "controller/reconcile/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "controller/reconcile/fake_spire_server.h"
#include "controller/reconcile/status.h"
#include "lib/base/fake_clock.h"
#include "lib/telemetry/fake_log.h"

namespace steeple::controller {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;

constexpr std::string_view kIdTemplate =
    "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}";

Projection everything() {
  Projection out;
  out.pod_meta.everything = out.pod_spec.everything = true;
  out.node_meta.everything = out.node_spec.everything = true;
  return out;
}

json pod_json(const std::string& name_space, const std::string& name, const json& labels = {},
              const std::string& node = "n1", const std::string& account = "web") {
  json spec{{"serviceAccountName", account}};
  if (!node.empty()) {
    spec["nodeName"] = node;
  }
  return {{"metadata",
           {{"name", name},
            {"namespace", name_space},
            {"uid", "uid-" + name_space + "-" + name},
            {"labels", labels.is_null() ? json::object() : labels}}},
          {"spec", spec}};
}

json spiffe_id_json(const std::string& name, const json& spec_more = json::object(),
                    const std::string& created = "2030-01-01T00:00:00Z") {
  json spec{{"spiffeIDTemplate", kIdTemplate}};
  spec.update(spec_more);
  return {
      {"metadata",
       {{"name", name}, {"uid", "uid-" + name}, {"generation", 1}, {"creationTimestamp", created}}},
      {"spec", spec}};
}

json static_json(const std::string& name, const std::string& path,
                 const std::string& created = "2030-01-01T00:00:00Z") {
  return {
      {"metadata",
       {{"name", name}, {"uid", "uid-" + name}, {"generation", 1}, {"creationTimestamp", created}}},
      {"spec",
       {{"spiffeID", "spiffe://example.org" + path},
        {"parentID", "spiffe://example.org/agent"},
        {"selectors", {"unix:uid:1"}}}}};
}

struct World {
  explicit World(EntrySync::Options sync_options = {}, ClassRule class_rule = {})
      : options(std::move(sync_options)), rule(std::move(class_rule)) {
    start();
  }

  void start() {
    Renderer renderer =
        Renderer::make({.trust_domain = spiffe::TrustDomain::parse("example.org").take(),
                        .cluster_name = "demo",
                        .cluster_domain = "cluster.local"})
            .take();
    auto desired = std::make_unique<DesiredState>(
        std::move(renderer),
        DesiredState::Options{.class_rule = rule, .ignored = [](const std::string& name) {
                                return name.starts_with("kube-");
                              }});
    DesiredState& state = *desired;
    engine = std::make_unique<Engine>(
        EntrySync::Deps{loop, api, state, random, log.logger(), counters}, std::move(desired),
        options,
        Engine::Hooks{.touched = {}, .ready = {}, .refused = [this](const std::string& text) {
                        refusals.push_back(text);
                      }});
  }
  // The process ends and another one begins.
  void restart() {
    engine.reset();
    start();
    counters = {};
  }

  DesiredState& desired() { return engine->desired(); }
  void put(const json& object) {
    desired().put_pod(decode_pod(object, everything(), "example.org/id"));
    engine->changed();
  }
  void put_id(const json& object) {
    desired().put_spiffe_id(parse_cluster_spiffe_id(object));
    engine->changed();
  }
  void put_static(const json& object) {
    desired().put_static_entry(parse_cluster_static_entry(object));
    engine->changed();
  }
  void cluster() {
    desired().put_node("n1", {.meta = R"({"uid":"node-1"})", .spec = "{}"});
    desired().put_namespace("default", {{"team", "a"}});
    desired().put_namespace("kube-system", {});
  }
  void run() {
    if (!started_) {
      started_ = true;
      engine->start();
      engine->complete();
    }
    EXPECT_TRUE(scheduler.run_while_not([this] { return engine->idle(); }, 2min));
  }
  void begin_again() { started_ = false; }
  void advance(Duration time) { scheduler.run_for(time); }
  std::vector<std::string> paths() const {
    std::vector<std::string> out;
    for (const auto& [id, entry] : server.entries) {
      out.push_back(entry.spiffe_id().path());
    }
    std::ranges::sort(out);
    return out;
  }
  json status_of(const std::string& name) {
    ResourceStatus status = spiffe_id_status(*desired().spiffe_id(name), desired(), engine->sync());
    json out = json::parse(status.fields);
    for (const Condition& condition : status.conditions) {
      out[condition.type] = {{"status", condition.status},
                             {"reason", condition.reason},
                             {"message", condition.message}};
    }
    return out;
  }

  FakeClock clock;
  io::SimScheduler scheduler{clock, 1};
  io::SimSwitch network_switch{scheduler};
  std::unique_ptr<io::Network> network = network_switch.join("host");
  FakeSpireServer server{scheduler, *network, "/spire.sock"};
  io::SimLoop loop{scheduler};
  SeededRandom random{1};
  CapturedLog log;
  rpc::Channel channel{rpc::Channel::Deps{loop, *network, nullptr, random},
                       io::Endpoint::unix_socket("/spire.sock"), nullptr};
  SpireApi api{channel, {}};
  Counters counters;
  EntrySync::Options options;
  ClassRule rule;
  std::vector<std::string> refusals;
  std::unique_ptr<Engine> engine;
  bool started_ = false;
};

TEST(Engine, APodGetsItsEntry) {
  World world;
  world.cluster();
  world.put_id(
      spiffe_id_json("all", {{"ttl", 3600},
                             {"jwtTtl", "5m"},
                             {"hint", "web"},
                             {"workloadSelectorTemplates", {"k8s:ns:{{ .PodMeta.Namespace }}"}},
                             {"dnsNameTemplates", {"{{ .PodMeta.Name }}.svc"}}}));
  world.put(pod_json("default", "p1"));
  world.run();
  ASSERT_THAT(world.server.entries, SizeIs(1));
  const Entry& entry = world.server.entries.begin()->second;
  EXPECT_EQ(describe(entry),
            "spiffe://example.org/ns/default/sa/web parent "
            "spiffe://example.org/spire/agent/k8s_psat/demo/node-1 selectors "
            "[k8s:pod-uid:uid-default-p1,k8s:ns:default] x509SVIDTTL 3600 jwtSVIDTTL 300 dnsNames "
            "[p1.svc] hint web");
  EXPECT_EQ(world.status_of("all")["stats"], json({{"namespacesSelected", 2},
                                                   {"namespacesIgnored", 1},
                                                   {"podsSelected", 1},
                                                   {"podEntryRenderFailures", 0},
                                                   {"entriesMasked", 0},
                                                   {"entriesToSet", 1},
                                                   {"entryFailures", 0}}));
  EXPECT_EQ(world.status_of("all")["Ready"]["status"], true);
}

TEST(Engine, APodThatGoesTakesItsEntryWithIt) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.run();
  world.desired().remove_pod("default/p1");
  world.engine->changed();
  world.run();
  EXPECT_THAT(world.server.entries, IsEmpty());
}

TEST(Engine, SteadyStateListsNothingAndWritesNothing) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all"));
  for (int i = 0; i < 50; ++i) {
    world.put(pod_json("default", fmt::format("p{}", i)));
  }
  world.run();
  FakeSpireServer::Calls before = world.server.calls;
  world.put(pod_json("default", "p7"));  // an update that says nothing new
  world.advance(9min);
  EXPECT_EQ(world.server.calls.list, before.list);
  EXPECT_EQ(world.server.calls.create, before.create);
  EXPECT_EQ(world.server.calls.update, before.update);
  EXPECT_EQ(world.server.calls.remove, before.remove);
  EXPECT_GT(world.server.calls.count, before.count);
}

TEST(Engine, AnotherPodCostsOneCallAndNoList) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.run();
  FakeSpireServer::Calls before = world.server.calls;
  std::uint64_t rendered = world.counters.pods_rendered;
  world.put(pod_json("default", "p2"));
  world.run();
  EXPECT_EQ(world.counters.pods_rendered, rendered + 1);
  EXPECT_EQ(world.server.calls.create, before.create + 1);
  EXPECT_EQ(world.server.calls.list, before.list);
}

TEST(Engine, AChangedTemplateReplacesTheEntries) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.run();
  json other = spiffe_id_json(
      "all", {{"spiffeIDTemplate", "spiffe://{{ .TrustDomain }}/pod/{{ .PodMeta.Name }}"}});
  world.put_id(other);
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/pod/p1"));
}

TEST(Engine, AChangedTtlIsAnUpdateInPlace) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.run();
  std::string id = world.server.entries.begin()->first;
  world.put_id(spiffe_id_json("all", {{"ttl", "2h"}}));
  world.run();
  ASSERT_TRUE(world.server.entries.contains(id));
  EXPECT_EQ(world.server.entries.at(id).x509_svid_ttl(), 7200);
  EXPECT_EQ(world.server.calls.created, 1U);
}

TEST(Engine, TheOlderResourceWinsAndTheOtherIsMasked) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("young", {{"ttl", 60}}, "2030-02-01T00:00:00Z"));
  world.put_id(spiffe_id_json("old", {{"ttl", 120}}));
  world.put(pod_json("default", "p1"));
  world.run();
  ASSERT_THAT(world.server.entries, SizeIs(1));
  EXPECT_EQ(world.server.entries.begin()->second.x509_svid_ttl(), 120);
  EXPECT_EQ(world.status_of("young")["stats"]["entriesMasked"], 1);
  EXPECT_EQ(world.status_of("old")["stats"]["entriesToSet"], 1);
  world.desired().remove_spiffe_id("old");
  world.engine->changed();
  world.run();
  ASSERT_THAT(world.server.entries, SizeIs(1));
  EXPECT_EQ(world.server.entries.begin()->second.x509_svid_ttl(), 60);
  EXPECT_EQ(world.server.calls.removed, 0U);  // taken over, not replaced
}

TEST(Engine, AFallbackIsForPodsWithoutAnotherEntry) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json(
      "fallback", {{"fallback", true}, {"spiffeIDTemplate", "spiffe://example.org/fallback"}},
      "2020-01-01T00:00:00Z"));
  world.put_id(spiffe_id_json("web", {{"podSelector", {{"matchLabels", {{"app", "web"}}}}}}));
  world.put(pod_json("default", "p1", {{"app", "web"}}));
  world.put(pod_json("default", "p2"));
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/fallback", "/ns/default/sa/web"));
  world.put(pod_json("default", "p1", {{"app", "other"}}));
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/fallback", "/fallback"));
}

TEST(Engine, NamespacesAreSelectedByNameAndLabels) {
  World world;
  world.cluster();
  world.desired().put_namespace("production", {});
  world.put_id(spiffe_id_json("named", {{"namespaceSelector", {{"matchNames", {"production"}}}}}));
  world.put(pod_json("production", "db"));
  world.put(pod_json("default", "p1"));
  world.put(pod_json("kube-system", "dns"));
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/ns/production/sa/web"));
  world.put_id(
      spiffe_id_json("named", {{"namespaceSelector", {{"matchLabels", {{"team", "a"}}}}}}));
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/ns/default/sa/web"));
  world.desired().put_namespace("default", {{"team", "b"}});
  world.engine->changed();
  world.run();
  EXPECT_THAT(world.paths(), IsEmpty());
}

TEST(Engine, ResourcesOfAnotherClassAreNotOurs) {
  World world({}, {.class_name = "ours", .watch_classless = true});
  world.cluster();
  world.put_id(spiffe_id_json("theirs", {{"className", "theirs"}}));
  world.put(pod_json("default", "p1"));
  world.run();
  EXPECT_THAT(world.paths(), IsEmpty());
  world.put_id(spiffe_id_json("classless"));
  world.run();
  EXPECT_THAT(world.paths(), SizeIs(1));
}

TEST(Engine, APodWithoutANodeIsCountedAndGetsItsEntryLater) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1", {}, ""));
  world.put(pod_json("default", "p2", {}, "unknown"));
  world.run();
  EXPECT_THAT(world.paths(), IsEmpty());
  EXPECT_EQ(world.status_of("all")["stats"]["podEntryRenderFailures"], 2);
  EXPECT_EQ(world.status_of("all")["Ready"]["status"], true);
  world.put(pod_json("default", "p1", {}, "n1"));
  world.desired().put_node("unknown", {.meta = R"({"uid":"node-2"})", .spec = "{}"});
  world.engine->changed();
  world.run();
  EXPECT_THAT(world.paths(), SizeIs(2));
  EXPECT_EQ(world.status_of("all")["stats"]["podEntryRenderFailures"], 0);
}

TEST(Engine, APodThatCannotBeRenderedIsNamed) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json(
      "labelled",
      {{"spiffeIDTemplate", "spiffe://example.org/{{ index .PodMeta.Labels \"app\" }}"}}));
  world.put(pod_json("default", "p1"));
  world.run();
  EXPECT_EQ(world.status_of("labelled")["Ready"]["reason"], "RenderFailed");
  EXPECT_THAT(std::string(world.status_of("labelled")["Ready"]["message"]),
              HasSubstr("pod default/p1: failed to render SPIFFE ID: invalid SPIFFE ID"));
}

TEST(Engine, AnIdOfAnotherTrustDomainIsRefused) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("other", {{"spiffeIDTemplate", "spiffe://other.org/x"}}));
  world.put(pod_json("default", "p1"));
  world.run();
  EXPECT_THAT(world.paths(), IsEmpty());
  EXPECT_THAT(std::string(world.status_of("other")["Ready"]["message"]),
              HasSubstr("expected trust domain \"example.org\" but got \"other.org\""));
}

TEST(Engine, ServiceNamesComeFromEndpoints) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json(
      "dns", {{"autoPopulateDNSNames", true}, {"dnsNameTemplates", {"z.example.org", "db"}}}));
  world.put(pod_json("default", "p1"));
  world.desired().put_endpoints(
      "default/db", {.name_space = "default", .name = "db", .pod_uids = {"uid-default-p1"}});
  world.run();
  ASSERT_THAT(world.server.entries, SizeIs(1));
  EXPECT_THAT(world.server.entries.begin()->second.dns_names(),
              ElementsAre("z.example.org", "db", "db.default", "db.default.svc",
                          "db.default.svc.cluster.local"));
  world.desired().remove_endpoints("default/db");
  world.engine->changed();
  world.run();
  EXPECT_THAT(world.server.entries.begin()->second.dns_names(), ElementsAre("z.example.org", "db"));
}

TEST(Engine, AnAnnotationRegistersAPod) {
  World world;
  world.cluster();
  json pod = pod_json("default", "p1");
  pod["metadata"]["annotations"] = {{"example.org/id", "/by/annotation"}};
  world.put(pod);
  json wrong = pod_json("default", "p2");
  wrong["metadata"]["annotations"] = {{"example.org/id", "spiffe://other.org/x"}};
  world.put(wrong);
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/by/annotation"));
}

TEST(Engine, FederationWaitsForTheBundle) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("fed", {{"federatesWith", {"partner.org", "here.org"}}}));
  world.server.bundles = {"here.org"};
  world.put(pod_json("default", "p1"));
  world.run();
  ASSERT_THAT(world.server.entries, SizeIs(1));
  EXPECT_THAT(world.server.entries.begin()->second.federates_with(), ElementsAre("here.org"));
  EXPECT_EQ(world.status_of("fed")["FederationReady"]["reason"], "BundleMissing");
  EXPECT_THAT(std::string(world.status_of("fed")["FederationReady"]["message"]),
              HasSubstr("partner.org"));
  world.server.bundles.insert("partner.org");
  world.advance(6s);
  EXPECT_THAT(world.server.entries.begin()->second.federates_with(),
              UnorderedElementsAre("here.org", "partner.org"));
  EXPECT_EQ(world.status_of("fed")["FederationReady"]["status"], true);
}

TEST(Engine, ManualEditsAreHealed) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all", {{"ttl", 3600}}));
  world.put(pod_json("default", "p1"));
  world.run();
  world.server.entries.clear();
  world.advance(11s);  // the count is wrong
  ASSERT_THAT(world.server.entries, SizeIs(1));
  world.server.entries.begin()->second.set_x509_svid_ttl(1);
  world.advance(11min);  // the count says nothing, the slow comparison does
  EXPECT_EQ(world.server.entries.begin()->second.x509_svid_ttl(), 3600);
  world.server.add(FakeSpireServer::entry("/by/hand", "/agent", {"unix:uid:0"}));
  world.advance(11s);
  EXPECT_THAT(world.paths(), ElementsAre("/ns/default/sa/web"));
}

TEST(Engine, JoinTokenAliasesAreLeftAlone) {
  World world;
  world.cluster();
  world.server.add(FakeSpireServer::entry("/alias", "/spire/agent/join_token/abc",
                                          {"spiffe_id:spiffe://example.org/x"}));
  world.server.add(FakeSpireServer::entry("/other", "/agent", {"unix:uid:0"}));
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/alias"));
}

TEST(Engine, ManyForeignEntriesAreNotDeleted) {
  World world;
  world.cluster();
  for (int i = 0; i < 40; ++i) {
    world.server.add(FakeSpireServer::entry(fmt::format("/hand/{}", i), "/agent", {"unix:uid:0"}));
  }
  world.run();
  EXPECT_THAT(world.server.entries, SizeIs(40));
  ASSERT_THAT(world.refusals, SizeIs(1));
  EXPECT_THAT(world.refusals[0], HasSubstr("refusing to delete 40 entries"));
  world.advance(20min);
  EXPECT_THAT(world.refusals, SizeIs(1));
}

TEST(Engine, WithoutALimitForeignEntriesGo) {
  World world({.limit = {.is_share = true, .share = 1.0, .count = 0}});
  world.cluster();
  for (int i = 0; i < 450; ++i) {
    world.server.add(FakeSpireServer::entry(fmt::format("/hand/{}", i), "/agent", {"unix:uid:0"}));
  }
  world.run();
  EXPECT_THAT(world.server.entries, IsEmpty());
}

TEST(Engine, ARestartFindsItsEntriesAsTheyAre) {
  World world;
  auto fill = [&world] {
    world.cluster();
    world.put_id(spiffe_id_json("all"));
    for (int i = 0; i < 700; ++i) {
      world.put(pod_json("default", fmt::format("p{}", i)));
    }
  };
  fill();
  world.run();
  EXPECT_THAT(world.server.entries, SizeIs(700));
  FakeSpireServer::Calls before = world.server.calls;
  world.restart();
  world.begin_again();
  fill();
  world.desired().remove_pod("default/p3");  // it went in between
  world.run();
  EXPECT_THAT(world.server.entries, SizeIs(699));
  EXPECT_EQ(world.server.calls.create, before.create);
  EXPECT_EQ(world.server.calls.update, before.update);
  EXPECT_EQ(world.server.calls.removed, before.removed + 1);
}

TEST(Engine, PrefixedIdsKeepOthersOut) {
  World world({.ids = {.prefix = "demo."}});
  world.cluster();
  world.server.add(FakeSpireServer::entry("/theirs", "/agent", {"unix:uid:0"}));
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/ns/default/sa/web", "/theirs"));
  EXPECT_TRUE(world.server.with_path("/ns/default/sa/web")[0].id().starts_with("demo."));
}

TEST(Engine, TheCleanupPrefixIsDeleted) {
  World world({.ids = {.prefix = "demo.", .cleanup = ""}});
  world.cluster();
  world.server.add(FakeSpireServer::entry("/plain", "/agent", {"unix:uid:0"}));
  Entry prefixed = FakeSpireServer::entry("/prefixed", "/agent", {"unix:uid:1"});
  prefixed.set_id("other.1");
  world.server.add(prefixed);
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/prefixed"));
}

TEST(Engine, ARefusedEntryIsCountedNamedAndTriedAgain) {
  World world;
  world.cluster();
  world.server.refuse = [](const Entry&) { return invalid_argument("no, not that one"); };
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.run();
  EXPECT_EQ(world.status_of("all")["stats"]["entryFailures"], 1);
  EXPECT_THAT(std::string(world.status_of("all")["Ready"]["message"]),
              HasSubstr("1 entry could not be set: no, not that one"));
  int before = world.server.calls.create;
  world.advance(30s);
  EXPECT_GT(world.server.calls.create, before);
  EXPECT_LT(world.server.calls.create, before + 8);
  world.server.refuse = nullptr;
  world.advance(1min);
  EXPECT_THAT(world.paths(), SizeIs(1));
  EXPECT_EQ(world.status_of("all")["stats"]["entryFailures"], 0);
}

TEST(Engine, LostAnswersMakeNoDoubles) {
  World world;
  world.cluster();
  world.server.lose_answers = true;
  world.put_id(spiffe_id_json("all"));
  for (int i = 0; i < 10; ++i) {
    world.put(pod_json("default", fmt::format("p{}", i)));
  }
  world.engine->start();
  world.engine->complete();
  world.started_ = true;
  world.advance(2s);
  world.server.lose_answers = false;
  world.advance(1min);
  EXPECT_THAT(world.server.entries, SizeIs(10));
  EXPECT_TRUE(world.engine->idle());
  EXPECT_EQ(world.status_of("all")["stats"]["entryFailures"], 0);
}

TEST(Engine, AServerThatComesBackIsBroughtUpToDate) {
  World world;
  world.cluster();
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.run();
  world.server.close();
  world.put(pod_json("default", "p2", {}, "n1", "other"));
  world.advance(1min);
  world.server.open();
  world.advance(1min);
  EXPECT_THAT(world.paths(), ElementsAre("/ns/default/sa/other", "/ns/default/sa/web"));
}

TEST(Engine, AFieldThatTheServerDoesNotKnowIsAskedForOnce) {
  World world;
  world.cluster();
  world.server.forget_hints = true;
  world.put_id(spiffe_id_json("all", {{"hint", "x"}}));
  world.put(pod_json("default", "p1"));
  world.run();
  world.advance(15min);
  EXPECT_EQ(world.server.calls.update, 0);
  EXPECT_EQ(world.server.calls.created, 1U);
}

TEST(Engine, StaticEntriesAreSetAndMasked) {
  World world;
  world.cluster();
  world.put_static(static_json("first", "/db"));
  world.put_static(static_json("second", "/db", "2030-03-01T00:00:00Z"));
  json wrong = static_json("wrong", "/x");
  wrong["spec"]["selectors"] = {"nocolon"};
  world.put_static(wrong);
  world.run();
  EXPECT_THAT(world.paths(), ElementsAre("/db"));
  auto status = [&](const std::string& name) {
    return json::parse(static_entry_status(*world.desired().static_entry(name), world.desired(),
                                           world.engine->sync())
                           .fields);
  };
  EXPECT_EQ(status("first"), json({{"rendered", true}, {"masked", false}, {"set", true}}));
  EXPECT_EQ(status("second"), json({{"rendered", true}, {"masked", true}, {"set", false}}));
  EXPECT_EQ(status("wrong"), json({{"rendered", false}, {"masked", false}, {"set", false}}));
}

TEST(Engine, ADryRunPrintsAndWritesNothing) {
  World world({.dry_run = true});
  world.cluster();
  world.server.add(FakeSpireServer::entry("/by/hand", "/agent", {"unix:uid:0"}));
  world.put_id(spiffe_id_json("all"));
  world.put(pod_json("default", "p1"));
  world.engine->start();
  world.engine->complete();
  world.advance(1s);
  ASSERT_TRUE(world.engine->ready());
  EXPECT_THAT(
      world.engine->sync().plan(),
      ElementsAre("create spiffe://example.org/ns/default/sa/web parent "
                  "spiffe://example.org/spire/agent/k8s_psat/demo/node-1 selectors "
                  "[k8s:pod-uid:uid-default-p1] (ClusterSPIFFEID all, pod default/p1)",
                  "delete 00000000-00000001 spiffe://example.org/by/hand (not created by this "
                  "controller)"));
  EXPECT_THAT(world.paths(), ElementsAre("/by/hand"));
}

}  // namespace
}  // namespace steeple::controller
