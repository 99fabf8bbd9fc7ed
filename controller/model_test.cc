// SPDX-License-Identifier: Apache-2.0

// Random clusters: pods, nodes, name spaces, endpoints, resources and bundles change in any order,
// watches break, the SPIRE server goes away, answers are lost, operators meddle. After each burst
// what stands in SPIRE must be what a naive recomputation of everything gives. The recomputation
// here shares no code with the product: it knows its few templates by heart.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "controller/fake_world.h"

namespace steeple::controller {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr std::string_view kTemplates[] = {
    kSaTemplate,
    "spiffe://example.org/pod/{{ .PodMeta.Name }}",
    "spiffe://example.org/app/{{ index .PodMeta.Labels \"app\" }}",
    "spiffe://{{ .TrustDomain }}/zone/{{ .NodeMeta.Labels.zone }}",
};

class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed) {}

  void step() {
    switch (random_.below(20)) {
      case 0:
        toggle_node();
        break;
      case 1:
        toggle_namespace();
        break;
      case 2:
      case 3:
        put_resource();
        break;
      case 4:
        world_.api.remove(kIdsPath, "", resource_name());
        break;
      case 5:
        toggle_endpoints();
        break;
      case 6:
        toggle(world_.spire.bundles, random_.below(2) == 0 ? "a.org" : "b.org");
        break;
      case 7:
        world_.api.cut_watches();
        break;
      case 8:
        put_static();
        break;
      case 9:
      case 10:
      case 11:
        world_.api.remove(kPodsPath, space(), pod_name());
        break;
      default:
        put_pod();
    }
  }

  void burst() {
    bool away = random_.below(10) == 0;
    world_.spire.lose_answers = random_.below(10) == 0;
    if (away) {
      world_.spire.close();
    }
    for (std::uint64_t i = random_.below(12) + 1; i > 0; --i) {
      step();
      if (random_.below(3) == 0) {
        world_.scheduler.run_for(Duration(1ms) * static_cast<int>(random_.below(50)));
      }
    }
    world_.scheduler.run_for(300ms);
    world_.spire.lose_answers = false;
    if (away) {
      world_.spire.open();
      world_.scheduler.run_for(30s);
    }
    bool meddled = random_.below(15) == 0 && !world_.spire.entries.empty();
    if (meddled) {
      auto entry = world_.spire.entries.begin();
      random_.below(2) == 0 ? entry->second.set_x509_svid_ttl(77)
                            : (void)world_.spire.entries.erase(entry);
      world_.scheduler.run_for(kFullCompareInterval + 15s);
    }
    world_.scheduler.run_for(15s);
  }

  std::set<std::string> actual() const {
    std::set<std::string> out;
    for (const auto& [id, entry] : world_.spire.entries) {
      std::set<std::string> dns(entry.dns_names().begin(), entry.dns_names().end());
      std::set<std::string> federated(entry.federates_with().begin(), entry.federates_with().end());
      std::string text = fmt::format(
          "{} {} {}:{} ttl {} dns [{}] fed [{}]", entry.spiffe_id().path(),
          entry.parent_id().path(), entry.selectors(0).type(), entry.selectors(0).value(),
          entry.x509_svid_ttl(), fmt::join(dns, ","), fmt::join(federated, ","));
      EXPECT_TRUE(out.insert(text).second) << "twice: " << text;
    }
    return out;
  }

  std::set<std::string> expected() const;
  void start() {
    ControllerConfig config = World::config();
    config.max_foreign_deletions = {.is_share = true, .share = 1, .count = 0};
    world_.start(config);
    world_.settle();
  }
  std::string dump() const {
    std::string out;
    for (const auto& line : world_.replicas[0]->log.lines()) {
      out += line.message;
      for (const auto& [key, value] : line.fields) {
        out += " " + key + "=" + value;
      }
      out += "\n";
    }
    return out.size() > 4000 ? out.substr(out.size() - 4000) : out;
  }

 private:
  // Only what matters to the winner of a key.
  struct Candidate {
    std::string created, uid, text;
  };

  std::string space() {
    static const char* const kSpaces[] = {"default", "s1", "s2", "kube-system"};
    return kSpaces[random_.below(4)];
  }
  std::string pod_name() { return fmt::format("p{}", random_.below(8)); }
  std::string node_name() { return fmt::format("n{}", random_.below(3)); }
  std::string resource_name() { return fmt::format("r{}", random_.below(5)); }

  static void toggle(std::set<std::string>& set, const std::string& item) {
    if (!set.insert(item).second) {
      set.erase(item);
    }
  }

  void put_pod() {
    json labels = json::object();
    if (std::uint64_t app = random_.below(3); app > 0) {
      labels["app"] = app == 1 ? "a" : "b";
    }
    json pod = pod_json(space(), pod_name(), labels, random_.below(6) == 0 ? "" : node_name(),
                        random_.below(2) == 0 ? "web" : "db");
    if (random_.below(4) == 0) {
      pod["metadata"]["uid"] = fmt::format("again-{}", random_.below(1'000'000));
    }
    world_.api.put(kPodsPath, pod);
  }

  void toggle_node() {
    std::string name = node_name();
    if (random_.below(3) == 0) {
      world_.api.remove(kNodesPath, "", name);
      return;
    }
    json node = node_json(name);
    if (random_.below(2) == 0) {
      node["metadata"]["labels"]["zone"] = random_.below(2) == 0 ? "z1" : "z2";
    }
    world_.api.put(kNodesPath, node);
  }

  void toggle_namespace() {
    std::string name = space();
    if (random_.below(4) == 0) {
      world_.api.remove(kNamespacesPath, "", name);
    } else {
      world_.api.put(
          kNamespacesPath,
          namespace_json(name, random_.below(2) == 0 ? json{{"team", "x"}} : json::object()));
    }
  }

  void put_resource() {
    json spec{{"spiffeIDTemplate", kTemplates[random_.below(4)]}, {"ttl", 60 * random_.below(3)}};
    switch (random_.below(4)) {
      case 0:
        spec["podSelector"] = {{"matchLabels", {{"app", "a"}}}};
        break;
      case 1:
        spec["podSelector"] = {
            {"matchExpressions", {{{"key", "app"}, {"operator", "DoesNotExist"}}}}};
        break;
      default:
        break;
    }
    switch (random_.below(4)) {
      case 0:
        spec["namespaceSelector"] = {{"matchLabels", {{"team", "x"}}}};
        break;
      case 1:
        spec["namespaceSelector"] = {{"matchNames", {"default", "s1"}}};
        break;
      default:
        break;
    }
    spec["fallback"] = random_.below(3) == 0;
    spec["autoPopulateDNSNames"] = random_.below(4) == 0;
    if (random_.below(3) == 0) {
      spec["federatesWith"] = {"b.org", "a.org"};
    }
    world_.clock.jump_wall(1s);
    world_.api.put(kIdsPath, named(resource_name(), spec));
  }

  void put_static() {
    std::string name = fmt::format("s{}", random_.below(3));
    if (random_.below(3) == 0) {
      world_.api.remove(kStaticsPath, "", name);
      return;
    }
    world_.clock.jump_wall(1s);
    world_.api.put(
        kStaticsPath,
        named(name, {{"spiffeID", fmt::format("spiffe://example.org/static/{}", random_.below(2))},
                     {"parentID", "spiffe://example.org/agent"},
                     {"selectors", {"unix:uid:1"}},
                     {"x509SVIDTTL", random_.below(2) == 0 ? "1m" : "2m"}}));
  }

  void toggle_endpoints() {
    std::string name = random_.below(2) == 0 ? "svc1" : "svc2";
    std::string in = space();
    if (random_.below(3) == 0) {
      world_.api.remove(kEndpointsPath, in, name);
      return;
    }
    json addresses = json::array();
    for (const json& pod : world_.api.all(kPodsPath)) {
      if (pod["metadata"]["namespace"] == in && random_.below(2) == 0) {
        addresses.push_back({{"targetRef", {{"kind", "Pod"}, {"uid", pod["metadata"]["uid"]}}}});
      }
    }
    world_.api.put(kEndpointsPath, {{"metadata", {{"name", name}, {"namespace", in}}},
                                    {"subsets", {{{"notReadyAddresses", addresses}}}}});
  }

  std::optional<std::string> path_of(const json& spec, const json& pod, const json& node) const;
  bool selects(const json& spec, const json& pod, const json& space) const;
  std::string text_of(const json& spec, const json& pod, const std::string& path) const;

  SeededRandom random_;
  World world_;
};

std::optional<std::string> Model::path_of(const json& spec, const json& pod,
                                          const json& node) const {
  std::string text = spec["spiffeIDTemplate"];
  const json& meta = pod["metadata"];
  if (text == kTemplates[0]) {
    return fmt::format("/ns/{}/sa/{}", std::string(meta["namespace"]),
                       std::string(pod["spec"]["serviceAccountName"]));
  }
  if (text == kTemplates[1]) {
    return "/pod/" + std::string(meta["name"]);
  }
  if (text == kTemplates[2]) {
    std::string app = meta["labels"].value("app", "");
    return app.empty() ? std::nullopt : std::optional("/app/" + app);
  }
  json labels = node["metadata"].value("labels", json::object());
  return labels.contains("zone") ? std::optional("/zone/" + std::string(labels["zone"]))
                                 : std::nullopt;
}

bool Model::selects(const json& spec, const json& pod, const json& in) const {
  if (in.is_null() || in["metadata"]["name"] == "kube-system") {
    return false;
  }
  const json& labels = pod["metadata"]["labels"];
  if (spec.contains("podSelector")) {
    bool wants_a = spec["podSelector"].contains("matchLabels");
    if (wants_a ? labels.value("app", "") != "a" : labels.contains("app")) {
      return false;
    }
  }
  if (spec.contains("namespaceSelector")) {
    std::string name = in["metadata"]["name"];
    bool by_name = spec["namespaceSelector"].contains("matchNames");
    return by_name ? name == "default" || name == "s1"
                   : in["metadata"]["labels"].value("team", "") == "x";
  }
  return true;
}

std::string Model::text_of(const json& spec, const json& pod, const std::string& path) const {
  const json& meta = pod["metadata"];
  std::set<std::string> dns;
  if (spec.value("autoPopulateDNSNames", false)) {
    for (const json& of : world_.api.all(kEndpointsPath)) {
      if (of["metadata"]["namespace"] != meta["namespace"]) {
        continue;
      }
      for (const json& address : of["subsets"][0]["notReadyAddresses"]) {
        if (address["targetRef"]["uid"] == meta["uid"]) {
          std::string name = of["metadata"]["name"];
          std::string in = meta["namespace"];
          dns.insert({name, name + "." + in, name + "." + in + ".svc",
                      name + "." + in + ".svc.cluster.local"});
        }
      }
    }
  }
  std::set<std::string> federated;
  for (const json& domain : spec.value("federatesWith", json::array())) {
    if (world_.spire.bundles.contains(domain)) {
      federated.insert(domain);
    }
  }
  return fmt::format(
      "{} /spire/agent/k8s_psat/demo/node-{} k8s:pod-uid:{} ttl {} dns [{}] fed [{}]", path,
      std::string(pod["spec"]["nodeName"]), std::string(meta["uid"]), spec["ttl"].get<int>(),
      fmt::join(dns, ","), fmt::join(federated, ","));
}

std::set<std::string> Model::expected() const {
  // Key: path, parent and selectors, which is the text up to " ttl".
  std::map<std::string, Candidate> winners;
  auto offer = [&winners](const json& by, const std::string& text) {
    Candidate candidate{by["metadata"]["creationTimestamp"], by["metadata"]["uid"], text};
    auto [at, fresh] = winners.emplace(text.substr(0, text.find(" ttl")), candidate);
    if (!fresh && std::pair(candidate.created, candidate.uid) <
                      std::pair(at->second.created, at->second.uid)) {
      at->second = candidate;
    }
  };
  for (const json& entry : world_.api.all(kStaticsPath)) {
    std::string id = entry["spec"]["spiffeID"];
    offer(entry, fmt::format("{} /agent unix:uid:1 ttl {} dns [] fed []",
                             id.substr(std::string("spiffe://example.org").size()),
                             entry["spec"]["x509SVIDTTL"] == "1m" ? 60 : 120));
  }
  std::set<std::string> has_entry;
  for (bool fallback : {false, true}) {
    for (const json& by : world_.api.all(kIdsPath)) {
      const json& spec = by["spec"];
      if (spec["fallback"] != fallback) {
        continue;
      }
      for (const json& pod : world_.api.all(kPodsPath)) {
        std::string uid = pod["metadata"]["uid"];
        json in = world_.api.get(kNamespacesPath, "", pod["metadata"]["namespace"]);
        json node = world_.api.get(kNodesPath, "", pod["spec"].value("nodeName", "none"));
        if (!selects(spec, pod, in) || node.is_null() || (fallback && has_entry.contains(uid))) {
          continue;
        }
        if (auto path = path_of(spec, pod, node)) {
          offer(by, text_of(spec, pod, *path));
          if (!fallback) {
            has_entry.insert(uid);
          }
        }
      }
    }
  }
  std::set<std::string> out;
  for (const auto& [key, candidate] : winners) {
    out.insert(candidate.text);
  }
  return out;
}

class ModelTest : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(ModelTest, WhatStandsIsWhatANaiveRecomputationGives) {
  Model model(GetParam());
  model.start();
  for (int i = 0; i < 60; ++i) {
    model.burst();
    ASSERT_EQ(model.actual(), model.expected()) << "seed " << GetParam() << ", burst " << i << "\n"
                                                << model.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, ::testing::Range<std::uint64_t>(1, 13));

}  // namespace
}  // namespace steeple::controller
