// SPDX-License-Identifier: Apache-2.0

// Pods as a kubelet reports them, for tests and benchmarks: the members that count, and as many
// that do not as a real pod has.

#pragma once

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace steeple::agent {

struct FakePod {
  int number = 0;
  std::string uid;
  std::string container_id;  // empty: not reported yet
  std::string init_container_id;
  std::map<std::string, std::string> labels;
};

inline FakePod fake_pod(int number) {
  return {.number = number,
          .uid = fmt::format("{:08x}-0000-4000-8000-000000000000", number),
          .container_id = fmt::format("{:064x}", number * 2 + 1),
          .init_container_id = fmt::format("{:064x}", 0x100000 + number),
          .labels = {{"app", fmt::format("app-{}", number)}, {"pod-template-hash", "6658cb9566"}}};
}

inline nlohmann::json fake_container_status(const std::string& name, const std::string& id,
                                            int number) {
  nlohmann::json out = {{"name", name},
                        {"image", fmt::format("docker.io/library/{}:v1", name)},
                        {"imageID", fmt::format("docker.io/library/{}@sha256:{}", name, number)},
                        {"ready", true},
                        {"restartCount", 0},
                        {"started", true},
                        {"lastState", nlohmann::json::object()},
                        {"state", {{"running", {{"startedAt", "2030-01-01T00:00:00Z"}}}}}};
  if (!id.empty()) {
    out["containerID"] = "containerd://" + id;
  }
  return out;
}

// In the shape of Kubernetes 1.33, about 5 kB.
inline nlohmann::json fake_pod_json(const FakePod& pod) {
  using nlohmann::json;
  const std::string n = std::to_string(pod.number);
  json mount = {{"mountPath", "/var/run/secrets/kubernetes.io/serviceaccount"},
                {"name", "kube-api-access-x"},
                {"readOnly", true}};
  json spec_container = {{"args", {"api", "watch"}},
                         {"command", {"/opt/app"}},
                         {"image", "docker.io/library/app:v1"},
                         {"imagePullPolicy", "IfNotPresent"},
                         {"env", json::array()},
                         {"resources", {{"limits", {{"cpu", "1"}}}, {"requests", {{"cpu", "1"}}}}},
                         {"terminationMessagePath", "/dev/termination-log"},
                         {"terminationMessagePolicy", "File"},
                         {"volumeMounts", {mount, mount, mount}}};
  for (int i = 0; i < 12; ++i) {
    spec_container["env"].push_back(
        {{"name", "VARIABLE_" + std::to_string(i)}, {"value", "some value of some length"}});
  }
  json conditions = json::array();
  for (const char* type :
       {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"}) {
    conditions.push_back({{"lastProbeTime", nullptr},
                          {"lastTransitionTime", "2030-01-01T00:00:00Z"},
                          {"status", "True"},
                          {"type", type}});
  }
  return {{"metadata",
           {{"name", "pod-" + n},
            {"generateName", "pod-"},
            {"namespace", "ns-" + n},
            {"uid", pod.uid},
            {"resourceVersion", "17021"},
            {"creationTimestamp", "2030-01-01T00:00:00Z"},
            {"labels", pod.labels},
            {"annotations",
             {{"kubernetes.io/config.seen", "2030-01-01T00:00:00Z"},
              {"kubernetes.io/config.source", "api"}}},
            {"ownerReferences",
             {{{"apiVersion", "apps/v1"},
               {"blockOwnerDeletion", true},
               {"controller", true},
               {"kind", "ReplicaSet"},
               {"name", "rs-" + n},
               {"uid", "owner-" + n}}}},
            {"managedFields", {{{"manager", "kube-controller-manager"}, {"fieldsV1", mount}}}}}},
          {"spec",
           {{"serviceAccountName", "sa-" + n},
            {"nodeName", "node-1"},
            {"containers", {spec_container, spec_container}},
            {"initContainers", {spec_container}},
            {"volumes", {mount, mount, mount}},
            {"tolerations", json::array()},
            {"restartPolicy", "Always"}}},
          {"status",
           {{"phase", "Running"},
            {"hostIP", "172.16.10.1"},
            {"podIP", "10.200.0.9"},
            {"conditions", conditions},
            {"containerStatuses",
             {fake_container_status("app", pod.container_id, pod.number),
              fake_container_status("sidecar", fmt::format("{:064x}", 0x200000 + pod.number),
                                    pod.number)}},
            {"initContainerStatuses",
             {fake_container_status("init", pod.init_container_id, pod.number)}}}}};
}

inline std::string pod_list(const std::vector<FakePod>& pods) {
  nlohmann::json items = nlohmann::json::array();
  for (const FakePod& pod : pods) {
    items.push_back(fake_pod_json(pod));
  }
  return nlohmann::json{{"kind", "PodList"},
                        {"apiVersion", "v1"},
                        {"metadata", nlohmann::json::object()},
                        {"items", std::move(items)}}
      .dump();
}

}  // namespace steeple::agent
