// SPDX-License-Identifier: Apache-2.0

// Whole controllers against an API server and a SPIRE server in memory, on simulated time. Time
// passes only as the tests say.

#include "controller/controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "controller/fake_world.h"
#include "lib/x509/csr.h"
#include "lib/x509/fake_authority.h"

namespace steeple::controller {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;

TEST(Controller, APodOfTheApiServerGetsItsEntryAndTheResourceItsStatus) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  world.api.put(kPodsPath, pod_json("default", "p1"));
  world.api.put(kPodsPath, pod_json("kube-system", "dns"));
  world.start();
  world.settle();
  EXPECT_THAT(world.paths(), ElementsAre("/ns/default/sa/web"));
  json status = world.api.get(kIdsPath, "", "all")["status"];
  EXPECT_EQ(status["stats"]["podsSelected"], 1);
  EXPECT_EQ(status["stats"]["namespacesIgnored"], 1);
  json ready = world.condition(kIdsPath, "all", "Ready");
  EXPECT_EQ(ready["status"], "True");
  EXPECT_EQ(ready["observedGeneration"], 1);
  EXPECT_EQ(ready["lastTransitionTime"], "2030-01-01T00:00:00Z");
}

TEST(Controller, PodsComeMoveAndGo) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  world.start();
  world.settle();
  world.api.put(kPodsPath, pod_json("default", "p1", {}, ""));
  world.settle();
  EXPECT_THAT(world.paths(), IsEmpty());
  SteadyTime before = world.clock.steady();
  world.api.put(kPodsPath, pod_json("default", "p1"));
  EXPECT_TRUE(world.until([&] { return world.spire.entries.size() == 1; }));
  EXPECT_LT(world.clock.steady() - before, 50ms);
  before = world.clock.steady();
  world.api.remove(kPodsPath, "default", "p1");
  EXPECT_TRUE(world.until([&] { return world.spire.entries.empty(); }));
  EXPECT_LT(world.clock.steady() - before, 50ms);
}

TEST(Controller, IdleCostsNoListsAndNoWrites) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  for (int i = 0; i < 20; ++i) {
    world.api.put(kPodsPath, pod_json("default", fmt::format("p{}", i)));
  }
  world.start();
  world.settle();
  int patches = world.api.count("PATCH", "/");
  int gets = world.api.count("GET", "/");
  int lists = world.spire.calls.list;
  json pod = world.api.get(kPodsPath, "default", "p3");
  pod["status"]["phase"] = "Failed";  // nothing that a template reads
  world.api.put(kPodsPath, pod);
  world.scheduler.run_for(4min);
  EXPECT_EQ(world.api.count("PATCH", "/"), patches);
  EXPECT_EQ(world.api.count("GET", "/"), gets);
  EXPECT_EQ(world.spire.calls.list, lists);
  EXPECT_EQ(world.spire.calls.create, 1);
}

TEST(Controller, ATemplateThatReadsMoreListsThePodsOnceMore) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  world.api.put(kPodsPath, pod_json("default", "p1"));
  world.start();
  world.settle();
  int lists = world.api.count("GET", kPodsPath);
  world.api.put(kIdsPath, spiffe_id_json("other", {{"spiffeIDTemplate",
                                                    "spiffe://example.org/{{ .PodMeta.Name }}/"
                                                    "{{ (index .PodSpec.Containers 0).Name }}"}}));
  world.settle();
  EXPECT_EQ(world.api.count("GET", kPodsPath), lists + 1);
  EXPECT_THAT(world.paths(), ElementsAre("/ns/default/sa/web", "/p1/main"));
  world.api.put(kPodsPath, pod_json("default", "p2"));
  world.settle();
  EXPECT_THAT(world.paths(), SizeIs(4));
  EXPECT_EQ(world.api.count("GET", kPodsPath), lists + 1);
}

TEST(Controller, EndpointsAreWatchedOnlyWhenAResourceAsksForServiceNames) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  json pod = pod_json("default", "p1");
  pod["metadata"]["uid"] = "pod-1";
  world.api.put(kPodsPath, pod);
  json endpoints{
      {"metadata", {{"name", "db"}, {"namespace", "default"}}},
      {"subsets",
       {{{"addresses",
          {{{"ip", "10.0.0.1"}, {"targetRef", {{"kind", "Pod"}, {"uid", "pod-1"}}}}}}}}}};
  world.api.put(kEndpointsPath, endpoints);
  world.start();
  world.settle();
  EXPECT_EQ(world.api.count("GET", kEndpointsPath), 0);
  world.api.put(kIdsPath, spiffe_id_json("all", {{"autoPopulateDNSNames", true}}));
  world.settle();
  ASSERT_THAT(world.spire.entries, SizeIs(1));
  EXPECT_THAT(world.spire.entries.begin()->second.dns_names(),
              ElementsAre("db", "db.default", "db.default.svc", "db.default.svc.cluster.local"));
}

TEST(Controller, ARestartedApiServerLosesNothing) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  world.start();
  world.settle();
  world.api.refuse = [](const std::string&, const std::string&) { return 503; };
  world.api.cut_watches();
  world.api.put(kPodsPath, pod_json("default", "p1"));
  world.scheduler.run_for(10s);
  world.api.refuse = nullptr;
  world.scheduler.run_for(1min);
  EXPECT_THAT(world.paths(), ElementsAre("/ns/default/sa/web"));
}

TEST(Controller, FailingPodsAreNamedInConditionsAndEvents) {
  World world;
  world.api.put(kIdsPath,
                spiffe_id_json("labelled", {{"spiffeIDTemplate",
                                             "spiffe://example.org/{{ .PodMeta.Labels.app }}"}}));
  world.api.put(kPodsPath, pod_json("default", "good", {{"app", "web"}}));
  world.api.put(kPodsPath, pod_json("default", "bad", {{"app", "has space"}}));
  world.start();
  world.settle();
  EXPECT_THAT(world.paths(), ElementsAre("/web"));
  json ready = world.condition(kIdsPath, "labelled", "Ready");
  EXPECT_EQ(ready["status"], "False");
  EXPECT_EQ(ready["reason"], "RenderFailed");
  EXPECT_THAT(std::string(ready["message"]), HasSubstr("pod default/bad: "));
  std::vector<json> events = world.api.all(kEventsPath);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0]["type"], "Warning");
  EXPECT_EQ(events[0]["reason"], "RenderFailed");
  EXPECT_EQ(events[0]["involvedObject"]["name"], "labelled");
  EXPECT_THAT(std::string(events[0]["message"]), HasSubstr("pod default/bad: "));
  world.api.put(kPodsPath, pod_json("default", "bad", {{"app", "better"}}));
  world.scheduler.run_for(10s);
  EXPECT_EQ(world.condition(kIdsPath, "labelled", "Ready")["status"], "True");
}

TEST(Controller, AnInvalidResourceSaysWhatIsWrong) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("broken", {{"ttl", "soon"}}));
  world.start();
  world.settle();
  json ready = world.condition(kIdsPath, "broken", "Ready");
  EXPECT_EQ(ready["reason"], "InvalidSpec");
  EXPECT_THAT(std::string(ready["message"]), HasSubstr("spec.ttl"));
}

TEST(Controller, StaticEntriesAreSetWithStatus) {
  World world;
  world.api.put(kStaticsPath, named("db", {{"spiffeID", "spiffe://example.org/db"},
                                           {"parentID", "spiffe://example.org/agent"},
                                           {"selectors", {"unix:uid:1"}}}));
  world.start();
  world.settle();
  EXPECT_THAT(world.paths(), ElementsAre("/db"));
  json status = world.api.get(kStaticsPath, "", "db")["status"];
  EXPECT_EQ(status["set"], true);
  EXPECT_EQ(status["rendered"], true);
  EXPECT_EQ(status["masked"], false);
  world.api.remove(kStaticsPath, "", "db");
  world.settle();
  EXPECT_THAT(world.paths(), IsEmpty());
}

json federated_json(const std::string& name, const std::string& url) {
  return named(
      name,
      {{"trustDomain", "partner.org"},
       {"bundleEndpointURL", url},
       {"bundleEndpointProfile",
        {{"type", "https_spiffe"}, {"endpointSPIFFEID", "spiffe://partner.org/spire/server"}}}});
}

TEST(Controller, FederatedTrustDomainsBecomeRelationships) {
  World world;
  world.api.put(kDomainsPath, federated_json("partner", "https://partner.org:8443"));
  world.spire.relationships["gone.org"].set_trust_domain("gone.org");
  world.start();
  world.settle();
  ASSERT_THAT(world.spire.relationships, SizeIs(1));
  EXPECT_EQ(world.spire.relationships.at("partner.org").bundle_endpoint_url(),
            "https://partner.org:8443");
  EXPECT_EQ(world.condition(kDomainsPath, "partner", "Ready")["status"], "True");
  world.clock.jump_wall(1s);
  world.api.put(kDomainsPath, federated_json("second", "https://elsewhere.org"));
  world.settle();
  EXPECT_EQ(world.condition(kDomainsPath, "second", "Ready")["reason"], "Masked");
  world.api.put(kDomainsPath, federated_json("partner", "https://partner.org:9443"));
  world.settle();
  EXPECT_EQ(world.spire.relationships.at("partner.org").bundle_endpoint_url(),
            "https://partner.org:9443");
}

TEST(Controller, AServerWithoutTheTrustDomainApiIsToldInTheCondition) {
  World world;
  world.spire.trust_domain_api = false;
  world.api.put(kDomainsPath, federated_json("partner", "https://partner.org:8443"));
  Replica& replica = world.start();
  world.settle();
  json ready = world.condition(kDomainsPath, "partner", "Ready");
  EXPECT_EQ(ready["status"], "False");
  EXPECT_EQ(ready["reason"], "Unimplemented");
  world.scheduler.run_for(3min);
  EXPECT_FALSE(replica.ended);
  EXPECT_LT(world.spire.calls.relationships, 6);
  world.spire.trust_domain_api = true;
  world.scheduler.run_for(2min);
  EXPECT_EQ(world.condition(kDomainsPath, "partner", "Ready")["status"], "True");
}

TEST(Controller, OnlyTheLeaderWritesAndAnotherTakesOver) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  world.api.put(kPodsPath, pod_json("default", "p1"));
  ControllerConfig config = World::config();
  config.leader_election = {.enabled = true, .name_space = "spire", .name = "lease"};
  Replica& first = world.start(config, {.webhook = false, .host_name = "a"});
  world.settle();
  Replica& second = world.start(config, {.webhook = false, .host_name = "b"});
  world.settle();
  EXPECT_NE(first.controller->reconciler(), nullptr);
  EXPECT_EQ(second.controller->reconciler(), nullptr);
  EXPECT_THAT(first.controller->metrics(),
              HasSubstr("leader_election_master_status{name=\"lease\"} 1"));
  EXPECT_THAT(second.controller->metrics(),
              HasSubstr("leader_election_master_status{name=\"lease\"} 0"));
  first.controller->stop();
  world.settle();
  EXPECT_TRUE(first.ended && first.ended->ok());
  EXPECT_NE(second.controller->reconciler(), nullptr);
  world.api.put(kPodsPath, pod_json("default", "p2"));
  world.settle();
  EXPECT_THAT(world.paths(), SizeIs(2));
}

TEST(Controller, ADryRunPrintsThePlanAndEnds) {
  World world;
  world.api.put(kIdsPath, spiffe_id_json("all"));
  world.api.put(kPodsPath, pod_json("default", "p1"));
  world.api.put(kDomainsPath, federated_json("partner", "https://partner.org"));
  Replica& replica = world.start(World::config(), {.dry_run = true});
  ASSERT_TRUE(world.until([&] { return replica.ended.has_value(); }));
  ASSERT_TRUE(replica.plan);
  EXPECT_THAT(*replica.plan, ElementsAre(HasSubstr("create spiffe://example.org/ns/default/sa/web"),
                                         "create federation relationship partner.org"));
  EXPECT_THAT(world.spire.entries, IsEmpty());
  EXPECT_THAT(world.spire.relationships, IsEmpty());
  EXPECT_EQ(world.api.count("PATCH", "/"), 0);
}

TEST(Controller, StaticManifestsNeedNoApiServer) {
  char folder[] = "/tmp/steeple-manifests-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(std::string(folder) + "/" + name) << text;
  };
  const std::string entry = R"(apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterStaticEntry
metadata: {name: db}
spec:
  spiffeID: spiffe://example.org/db
  parentID: spiffe://example.org/agent
  selectors: ["unix:uid:1"]
)";
  write("db.yaml", entry);
  write("ignored.txt", "x");
  World world;
  ControllerConfig config = World::config();
  config.static_manifest_path = folder;
  config.reconcile.spiffe_ids = false;
  Replica& replica = world.start(config);
  world.settle();
  EXPECT_THAT(world.paths(), ElementsAre("/db"));
  write("db.yaml", "broken: [");
  world.scheduler.run_for(11s);
  EXPECT_THAT(world.paths(), ElementsAre("/db"));
  EXPECT_TRUE(replica.log.has("Failed to read static manifests"));
  std::filesystem::remove(std::string(folder) + "/db.yaml");
  world.scheduler.run_for(11s);
  EXPECT_THAT(world.paths(), IsEmpty());
  EXPECT_EQ(world.api.count("GET", "/"), 0);
  std::filesystem::remove_all(folder);
}

TEST(Controller, BadExpressionsEndIt) {
  World world;
  ControllerConfig config = World::config();
  config.ignore_namespaces = {"("};
  Replica& replica = world.start(config);
  ASSERT_TRUE(world.until([&] { return replica.ended.has_value(); }));
  EXPECT_THAT(replica.ended->error().message, HasSubstr("ignore namespaces regex"));
}

TEST(BindAddress, IsHostAndPort) {
  EXPECT_FALSE(parse_bind_address("0").take());
  EXPECT_FALSE(parse_bind_address("").take());
  EXPECT_EQ(parse_bind_address(":8080").take()->port, 8080);
  EXPECT_EQ(parse_bind_address("127.0.0.1:80").take()->host, "127.0.0.1");
  EXPECT_EQ(parse_bind_address("[::1]:80").take()->host, "::1");
  EXPECT_FALSE(parse_bind_address("nonsense").ok());
  EXPECT_FALSE(parse_bind_address(":80x").ok());
}

}  // namespace
}  // namespace steeple::controller
