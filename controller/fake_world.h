// SPDX-License-Identifier: Apache-2.0

// A cluster in memory: API server, SPIRE server and any number of controllers, on simulated time.
// For tests.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "controller/controller.h"
#include "controller/fake_api_server.h"
#include "controller/reconcile/fake_spire_server.h"
#include "lib/base/fake_clock.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/telemetry/fake_log.h"
#include "lib/tls/fake_handshake.h"

namespace steeple::controller {

inline constexpr const char* kPodsPath = "/api/v1/pods";
inline constexpr const char* kNodesPath = "/api/v1/nodes";
inline constexpr const char* kNamespacesPath = "/api/v1/namespaces";
inline constexpr const char* kEndpointsPath = "/api/v1/endpoints";
inline constexpr const char* kEventsPath = "/api/v1/events";
inline constexpr const char* kIdsPath = "/apis/spire.spiffe.io/v1alpha1/clusterspiffeids";
inline constexpr const char* kStaticsPath = "/apis/spire.spiffe.io/v1alpha1/clusterstaticentries";
inline constexpr const char* kDomainsPath =
    "/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains";
inline constexpr const char* kHooksPath =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

inline nlohmann::json pod_json(const std::string& name_space, const std::string& name,
                               nlohmann::json labels = nlohmann::json::object(),
                               const std::string& node = "n1", const std::string& account = "web") {
  nlohmann::json spec{{"serviceAccountName", account}, {"containers", {{{"name", "main"}}}}};
  if (!node.empty()) {
    spec["nodeName"] = node;
  }
  return {{"kind", "Pod"},
          {"metadata", {{"name", name}, {"namespace", name_space}, {"labels", std::move(labels)}}},
          {"spec", std::move(spec)},
          {"status", {{"phase", "Running"}}}};
}

inline nlohmann::json named(const std::string& name,
                            nlohmann::json spec = nlohmann::json::object()) {
  return {{"metadata", {{"name", name}}}, {"spec", std::move(spec)}};
}

inline nlohmann::json node_json(const std::string& name) {
  nlohmann::json node = named(name, {{"podCIDR", "10.0.0.0/24"}});
  node["metadata"]["uid"] = "node-" + name;
  return node;
}

inline nlohmann::json namespace_json(const std::string& name,
                                     nlohmann::json labels = nlohmann::json::object()) {
  nlohmann::json out = named(name);
  out["metadata"]["labels"] = std::move(labels);
  return out;
}

inline constexpr std::string_view kSaTemplate =
    "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}";

inline nlohmann::json spiffe_id_json(const std::string& name,
                                     const nlohmann::json& more = nlohmann::json::object()) {
  nlohmann::json spec{{"spiffeIDTemplate", kSaTemplate}};
  spec.update(more);
  return named(name, std::move(spec));
}

// One controller: a process of its own with its loop.
struct Replica {
  struct World& world;
  io::SimLoop loop;
  io::SimWorkers workers;
  SeededRandom random;
  CapturedLog log;
  std::unique_ptr<kube::Transport> transport;
  std::unique_ptr<kube::Access> access;
  std::unique_ptr<kube::Client> client;
  std::optional<Result<void>> ended;
  std::optional<std::vector<std::string>> plan;
  std::unique_ptr<Controller> controller;

  Replica(World& in, std::uint64_t seed, ControllerConfig config, Controller::Options options);
  // A crash.
  void kill() { controller.reset(); }
};

class FixedAccess final : public kube::Access {
 public:
  const std::string& server() const override { return server_; }
  Result<kube::Credential> credential() override { return kube::Credential{}; }
  bool refused() override { return false; }

 private:
  const std::string server_ = "https://api:6443";
};

struct World {
  World() {
    for (const char* name : {"default", "kube-system"}) {
      api.put(kNamespacesPath, namespace_json(name));
    }
    api.put(kNodesPath, node_json("n1"));
  }

  static ControllerConfig config() {
    ControllerConfig out;
    out.cluster_name = "demo";
    out.cluster_domain = "cluster.local";
    out.trust_domain = "example.org";
    out.server_socket = "/spire.sock";
    out.metrics_address = "0";
    return out;
  }
  Replica& start(ControllerConfig with = config(),
                 Controller::Options options = {.webhook = false, .host_name = "host"}) {
    replicas.push_back(
        std::make_unique<Replica>(*this, replicas.size() + 1, std::move(with), std::move(options)));
    replicas.back()->controller->start();
    return *replicas.back();
  }
  bool until(const std::function<bool()>& holds, Duration at_most = std::chrono::minutes(2)) {
    return scheduler.run_while_not(holds, at_most);
  }
  // The event has been seen, rendered, written and told.
  void settle() { scheduler.run_for(std::chrono::seconds(5)); }
  std::vector<std::string> paths() const {
    std::vector<std::string> out;
    for (const auto& [id, entry] : spire.entries) {
      out.push_back(entry.spiffe_id().path());
    }
    std::ranges::sort(out);
    return out;
  }
  nlohmann::json condition(const char* collection, const std::string& name,
                           const std::string& type) const {
    nlohmann::json object = api.get(collection, "", name);
    if (!object.contains("status") || !object["status"].contains("conditions")) {
      return {};
    }
    for (const nlohmann::json& condition : object["status"]["conditions"]) {
      if (condition["type"] == type) {
        return condition;
      }
    }
    return {};
  }

  FakeClock clock;
  io::SimScheduler scheduler{clock, 1};
  io::SimSwitch network_switch{scheduler};
  std::unique_ptr<io::Network> network = network_switch.join("host");
  FakeSpireServer spire{scheduler, *network, "/spire.sock"};
  FakeApiServer api{clock};
  std::unique_ptr<tls::Handshake> handshake = tls::fake_handshake();
  std::vector<std::unique_ptr<Replica>> replicas;
};

inline Replica::Replica(World& in, std::uint64_t seed, ControllerConfig config,
                        Controller::Options options)
    : world(in),
      loop(in.scheduler),
      workers(in.scheduler),
      random(seed),
      transport(in.api.transport(loop)),
      access(std::make_unique<FixedAccess>()) {
  bool is_static = config.static_manifest_path.has_value();
  client = std::make_unique<kube::Client>(kube::Client::Deps{loop, *transport, *access});
  controller = std::make_unique<Controller>(
      std::move(config),
      Controller::Deps{.loop = loop,
                       .workers = workers,
                       .network = *in.network,
                       .handshake = *in.handshake,
                       .client = is_static ? nullptr : client.get(),
                       .random = random,
                       .log = log.logger(),
                       .environment = {}},
      std::move(options),
      Controller::Hooks{.ended = [this](Result<void> how) { ended = std::move(how); },
                        .planned = [this](const std::vector<std::string>& p) { plan = p; },
                        .ready = {}});
}

}  // namespace steeple::controller
