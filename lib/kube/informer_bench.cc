// SPDX-License-Identifier: Apache-2.0

// What an informer of 30,000 pods costs: time for the first list, memory afterwards, time per watch
// event, and a second list in which nothing changed. The pods are of a usual size (7 KB of JSON,
// managed fields included); bytes come in pieces of 16 KB from the scripted transport.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "lib/kube/fake_client.h"
#include "lib/kube/informer.h"

namespace steeple::kube {
namespace {

using nlohmann::json;

constexpr int kPods = 30'000;
constexpr int kPage = 500;
constexpr int kEvents = 20'000;

struct PodInfo {
  std::string uid;
  std::string node;
  std::string service_account;
  std::vector<std::pair<std::string, std::string>> labels;
};

std::optional<PodInfo> decode(const json& pod) {
  PodInfo info{string_at(pod, {"metadata", "uid"}),
               string_at(pod, {"spec", "nodeName"}),
               string_at(pod, {"spec", "serviceAccountName"}),
               {}};
  for (auto& [name, value] : string_map_at(pod, {"metadata", "labels"})) {
    info.labels.emplace_back(name, value);
  }
  return info;
}

std::string pod(int number, int version) {
  json fields = json::object();
  for (int i = 0; i < 60; ++i) {
    fields["f:field-" + std::to_string(i)] = {{".", json::object()}, {"f:x", json::object()}};
  }
  json env = json::array();
  for (int i = 0; i < 25; ++i) {
    env.push_back({{"name", "VARIABLE_" + std::to_string(i)}, {"value", std::string(40, 'v')}});
  }
  std::string name = "web-7c9f8d6b5-" + std::to_string(number);
  return json{{"metadata",
               {{"name", name},
                {"namespace", "ns-" + std::to_string(number % 100)},
                {"uid", "8d5e2c1a-1b2c-4d3e-9f00-" + std::to_string(100'000'000'000 + number)},
                {"resourceVersion", std::to_string(version)},
                {"labels", {{"app", "web"}, {"pod-template-hash", "7c9f8d6b5"}}},
                {"managedFields", {{{"manager", "kubelet"}, {"fieldsV1", fields}}}}}},
              {"spec",
               {{"nodeName", "node-" + std::to_string(number % 500)},
                {"serviceAccountName", "default"},
                {"containers", {{{"name", "web"}, {"image", "web:1"}, {"env", env}}}}}},
              {"status", {{"phase", "Running"}, {"podIP", "10.0.0.1"}}}}
      .dump();
}

long resident_kib() {
  std::ifstream statm("/proc/self/statm");
  long size = 0;
  long resident = 0;
  statm >> size >> resident;
  return resident * 4;
}

double seconds_since(SteadyTime began) {
  return std::chrono::duration<double>(system_clock().steady() - began).count();
}

void feed(FakeExchange& exchange, std::string_view text) {
  constexpr std::size_t kPiece = 16 << 10;
  for (; !text.empty(); text.remove_prefix(std::min(kPiece, text.size()))) {
    exchange.data(text.substr(0, kPiece));
  }
}

// Returns the seconds that the reader took, without making the text.
double list(FakeClient& fake) {
  double took = 0;
  for (int first = 0; first < kPods; first += kPage) {
    bool more = first + kPage < kPods;
    std::string page = R"({"metadata":{"resourceVersion":"90000")" +
                       std::string(more ? R"(,"continue":"c)" + std::to_string(first) + "\"" : "") +
                       R"(},"items":[)";
    for (int i = first; i < first + kPage; ++i) {
      page += (i == first ? "" : ",") + pod(i, i + 1);
    }
    page += "]}";
    SteadyTime began = system_clock().steady();
    FakeExchange& exchange = fake.transport.last();
    exchange.head(200);
    feed(exchange, page);
    exchange.end();
    took += seconds_since(began);
  }
  return took;
}

void run() {
  long before = resident_kib();
  FakeClient fake;
  int told = 0;
  Informer<PodInfo> informer(
      {fake.client, fake.random}, {kube::kPods}, {}, decode,
      {.added = [&told](const std::string&, const PodInfo&) { ++told; },
       .changed = [&told](const std::string&, const PodInfo&, const PodInfo&) { ++told; }});
  informer.start();
  std::printf("a pod is %zu bytes of JSON\n", pod(1, 1).size());
  double first = list(fake);
  std::printf("first list of %zu pods: %.2f s; resident %ld KiB more\n", informer.size(), first,
              resident_kib() - before);
  fake.transport.last().head(200);
  double events = 0;
  for (int i = 0; i < kEvents; ++i) {
    std::string line = R"({"type":"MODIFIED","object":)" + pod(i, 100'000 + i) + "}\n";
    SteadyTime began = system_clock().steady();
    fake.transport.last().data(line);
    events += seconds_since(began);
  }
  std::printf("watch event: %.1f us\n", events / kEvents * 1e6);
  told = 0;
  fake.transport.last().data(
      "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}"
      "\n");
  double second = list(fake);
  std::printf("second list: %.2f s, %d told; resident %ld KiB more than at the start\n", second,
              told, resident_kib() - before);
}

}  // namespace
}  // namespace steeple::kube

int main() {
  steeple::kube::run();
  return 0;
}
