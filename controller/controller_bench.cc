// SPDX-License-Identifier: Apache-2.0

// 30,000 pods: a whole controller on a real loop against an API server that makes pods as it lists
// them and a SPIRE server in a child process. Prints how long the first load takes, the memory of
// this process, and how long a new pod waits for its entry.
//
//   controller_bench [pods]

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "controller/controller.h"
#include "controller/reconcile/spire_api.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/rpc/server.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/entry/v1/entry.pb.h"

namespace steeple::controller {
namespace {

namespace entry_v1 = ::spire::api::server::entry::v1;
using nlohmann::json;
using namespace std::chrono_literals;

constexpr int kNodes = 300;
constexpr int kNamespaces = 100;
constexpr int kNewPods = 1000;

void serve_spire(const std::string& path, int ready) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  io::AsioLoop loop;
  io::SocketNetwork network;
  io::WorkerPool workers;
  rpc::Server server({loop, workers, system_random()}, {}, {});
  std::unordered_map<std::string, Bytes> entries;
  std::uint64_t next = 0;
  rpc::add_unary<entry_v1::CountEntriesRequest, entry_v1::CountEntriesResponse>(
      server, method::kCountEntries, rpc::Where::kLoop,
      [&](rpc::CallContext&, const auto&) -> Result<entry_v1::CountEntriesResponse> {
        entry_v1::CountEntriesResponse out;
        out.set_count(static_cast<int>(entries.size()));
        return out;
      });
  rpc::add_unary<entry_v1::ListEntriesRequest, entry_v1::ListEntriesResponse>(
      server, method::kListEntries, rpc::Where::kLoop,
      [](rpc::CallContext&, const auto&) -> Result<entry_v1::ListEntriesResponse> {
        return entry_v1::ListEntriesResponse();
      });
  rpc::add_unary<entry_v1::BatchCreateEntryRequest, entry_v1::BatchCreateEntryResponse>(
      server, method::kCreateEntries, rpc::Where::kLoop,
      [&](rpc::CallContext&, const entry_v1::BatchCreateEntryRequest& request)
          -> Result<entry_v1::BatchCreateEntryResponse> {
        entry_v1::BatchCreateEntryResponse out;
        for (const Entry& entry : request.entries()) {
          auto* result = out.add_results();
          result->mutable_status();
          *result->mutable_entry() = entry;
          result->mutable_entry()->set_id(fmt::format("6ba7b810-9dad-11d1-80b4-{:012}", next++));
          entries[result->entry().id()] = result->entry().SerializeAsString();
        }
        return out;
      });
  rpc::add_unary<::spire::api::server::bundle::v1::ListFederatedBundlesRequest,
                 ::spire::api::server::bundle::v1::ListFederatedBundlesResponse>(
      server, method::kListFederatedBundles, rpc::Where::kLoop,
      [](rpc::CallContext&,
         const auto&) -> Result<::spire::api::server::bundle::v1::ListFederatedBundlesResponse> {
        return ::spire::api::server::bundle::v1::ListFederatedBundlesResponse();
      });
  auto listener =
      network
          .listen(loop, io::Endpoint::unix_socket(path), {},
                  [&](std::unique_ptr<io::Connection> c) { server.serve(std::move(c)); })
          .take();
  char byte = 1;
  (void)!::write(ready, &byte, 1);
  loop.run();
}

// A pod as a real one: some 4 KB of which templates read a few fields.
json make_pod(int i) {
  json env = json::array();
  for (int e = 0; e < 20; ++e) {
    env.push_back({{"name", fmt::format("VARIABLE_{}", e)}, {"value", std::string(40, 'x')}});
  }
  return {
      {"metadata",
       {{"name", fmt::format("deployment-{}-7d4b9c6f5-{:05}", i % 500, i)},
        {"namespace", fmt::format("team-{}", i % kNamespaces)},
        {"uid", fmt::format("0b5c2a52-7f2e-4f3b-9d3e-{:012}", i)},
        {"resourceVersion", std::to_string(1000 + i)},
        {"labels",
         {{"app", fmt::format("deployment-{}", i % 500)},
          {"app.kubernetes.io/name", "web"},
          {"app.kubernetes.io/instance", fmt::format("deployment-{}", i % 500)},
          {"pod-template-hash", "7d4b9c6f5"},
          {"spiffe", "enabled"}}},
        {"annotations", {{"prometheus.io/scrape", "true"}, {"checksum", std::string(64, 'a')}}}}},
      {"spec",
       {{"nodeName", fmt::format("node-{}", i % kNodes)},
        {"serviceAccountName", fmt::format("account-{}", i % 500)},
        {"containers", {{{"name", "main"}, {"image", "registry/app:1"}, {"env", env}}}}}},
      {"status", {{"phase", "Running"}, {"podIP", "10.0.0.1"}}}};
}

// Makes what is asked for; keeps nothing but the watches.
class MakingTransport final : public kube::Transport {
 public:
  MakingTransport(io::Loop& loop, int pods) : loop_(loop), pods_(pods) {}

  kube::CallPtr start(kube::HttpRequest request, kube::HttpEvents events) override {
    auto exchange = std::make_shared<Exchange>(Exchange{std::move(request), std::move(events)});
    loop_.post([this, exchange] {
      if (!exchange->cancelled) {
        serve(exchange);
      }
    });
    return std::make_unique<Handle>(exchange);
  }

  void new_pod(int i) {
    json pod = make_pod(i);
    pod["metadata"]["resourceVersion"] = std::to_string(1'000'000 + i);
    pod_watch_->events.on_data(json{{"type", "ADDED"}, {"object", pod}}.dump() + "\n");
  }

 private:
  struct Exchange {
    kube::HttpRequest request;
    kube::HttpEvents events;
    bool cancelled = false;
  };
  class Handle final : public kube::Call {
   public:
    explicit Handle(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
    ~Handle() override { exchange_->cancelled = true; }

   private:
    const std::shared_ptr<Exchange> exchange_;
  };

  static json named(const std::string& name) {
    return {{"metadata", {{"name", name}, {"uid", "uid-" + name}, {"resourceVersion", "1"}}}};
  }

  static json item(const std::string& path, int i) {
    if (path.ends_with("/pods")) {
      return make_pod(i);
    }
    if (path.ends_with("/nodes")) {
      return named(fmt::format("node-{}", i));
    }
    if (path.ends_with("/namespaces")) {
      return named(fmt::format("team-{}", i));
    }
    json out = named("workloads");
    out["metadata"]["generation"] = 1;
    out["spec"] = {
        {"spiffeIDTemplate",
         "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/"
         "{{ .PodSpec.ServiceAccountName }}"},
        {"podSelector", {{"matchLabels", {{"spiffe", "enabled"}}}}},
        {"workloadSelectorTemplates",
         {"k8s:ns:{{ .PodMeta.Namespace }}", "k8s:sa:{{ .PodSpec.ServiceAccountName }}"}},
        {"dnsNameTemplates", {"{{ .PodMeta.Name }}.{{ .PodMeta.Namespace }}.svc.cluster.local"}}};
    return out;
  }

  void serve(const std::shared_ptr<Exchange>& exchange) {
    const std::string& url = exchange->request.url;
    std::string path = url.substr(0, url.find('?'));
    kube::HttpHead head{.status = 200, .headers = {{"content-type", "application/json"}}};
    exchange->events.on_head(head);
    if (url.contains("watch=")) {
      if (path.ends_with("/pods")) {
        pod_watch_ = exchange;
      }
      return;  // silent until something happens
    }
    if (exchange->request.method == "GET") {
      int all = path.ends_with("/pods")               ? pods_
                : path.ends_with("/nodes")            ? kNodes
                : path.ends_with("/namespaces")       ? kNamespaces
                : path.ends_with("/clusterspiffeids") ? 1
                                                      : 0;
      int from = 0;
      if (std::size_t at = url.find("continue="); at != std::string::npos) {
        from = std::stoi(url.substr(at + 9));
      }
      int to = std::min(all, from + 500);
      json meta{{"resourceVersion", "100000"}};
      if (to < all) {
        meta["continue"] = std::to_string(to);
      }
      exchange->events.on_data("{\"kind\":\"List\",\"metadata\":" + meta.dump() + ",\"items\":[");
      for (int i = from; i < to && !exchange->cancelled; ++i) {
        exchange->events.on_data((i > from ? "," : "") + item(path, i).dump());
      }
      exchange->events.on_data("]}");
    } else {
      exchange->events.on_data("{}");
    }
    if (!exchange->cancelled) {
      auto end = std::move(exchange->events.on_end);
      end({});
    }
  }

  io::Loop& loop_;
  const int pods_;
  std::shared_ptr<Exchange> pod_watch_;
};

class NoAccess final : public kube::Access {
 public:
  const std::string& server() const override { return server_; }
  Result<kube::Credential> credential() override { return kube::Credential{}; }
  bool refused() override { return false; }

 private:
  const std::string server_ = "https://api";
};

double status_mb(const char* key) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(key)) {
      return std::stod(line.substr(std::string(key).size() + 1)) / 1024;
    }
  }
  return 0;
}

double milliseconds(Duration time) { return static_cast<double>(time.count()) / 1e6; }

// Adds a pod, waits for its entry, and so on.
class Arrivals {
 public:
  Arrivals(io::AsioLoop& loop, MakingTransport& api, const Controller& controller, int first)
      : loop_(loop), api_(api), controller_(controller), next_(first), timer_(loop) {}

  void next() {
    if (waits_.size() == kNewPods) {
      loop_.stop();
      return;
    }
    before_ = controller_.counters().entries_created;
    began_ = loop_.clock().steady();
    api_.new_pod(next_++);
    look();
  }
  std::vector<double> waits_;

 private:
  void look() {
    if (controller_.counters().entries_created > before_) {
      waits_.push_back(milliseconds(loop_.clock().steady() - began_));
      timer_.start(1ms, [this] { next(); });
    } else {
      loop_.post([this] { look(); });
    }
  }

  io::AsioLoop& loop_;
  MakingTransport& api_;
  const Controller& controller_;
  int next_;
  std::uint64_t before_ = 0;
  SteadyTime began_{};
  io::Timer timer_;
};

void measure(const std::string& socket, int pods) {
  io::AsioLoop loop;
  io::SocketNetwork network;
  io::WorkerPool workers(io::WorkerPool::Options{.threads = 1});
  auto handshake = tls::openssl_handshake();
  MakingTransport api(loop, pods);
  NoAccess access;
  kube::Client client({loop, api, access});
  ControllerConfig config;
  config.cluster_name = "demo";
  config.cluster_domain = "cluster.local";
  config.trust_domain = "example.org";
  config.server_socket = socket;
  config.metrics_address = "0";
  Controller controller(config,
                        {.loop = loop,
                         .workers = workers,
                         .network = network,
                         .handshake = *handshake,
                         .client = &client,
                         .random = system_random(),
                         .log = Logger(),
                         .environment = {}},
                        {.webhook = false, .host_name = "bench"},
                        {.ended = [&](Result<void>) { loop.stop(); }});
  SteadyTime began = loop.clock().steady();
  controller.start();
  io::Timer timer(loop);
  std::function<void()> look = [&] {
    if (controller.counters().entries_created == static_cast<std::uint64_t>(pods)) {
      loop.stop();
    } else {
      timer.start(5ms, look);
    }
  };
  look();
  loop.run();
  fmt::print("{} pods: all entries set after {:.2f} s, RSS {:.1f} MB, at most {:.1f} MB\n", pods,
             milliseconds(loop.clock().steady() - began) / 1000, status_mb("VmRSS:"),
             status_mb("VmHWM:"));
  Arrivals arrivals(loop, api, controller, pods);
  arrivals.next();
  loop.run();
  std::vector<double>& waits = arrivals.waits_;
  std::ranges::sort(waits);
  fmt::print(
      "pod to entry, {} pods one after another: p50 {:.2f} ms, p99 {:.2f} ms, max {:.2f} ms\n",
      waits.size(), waits[waits.size() / 2], waits[waits.size() * 99 / 100], waits.back());
}

}  // namespace
}  // namespace steeple::controller

int main(int argc, char** argv) {
  int pods = argc > 1 ? std::atoi(argv[1]) : 30'000;
  char folder[] = "/tmp/steeple-controller-bench-XXXXXX";
  if (::mkdtemp(folder) == nullptr) {
    return 1;
  }
  std::string socket = std::string(folder) + "/s";
  int ready[2];
  if (::pipe(ready) != 0) {
    return 1;
  }
  pid_t child = ::fork();
  if (child == 0) {
    steeple::controller::serve_spire(socket, ready[1]);
    return 0;
  }
  char byte = 0;
  (void)!::read(ready[0], &byte, 1);
  steeple::controller::measure(socket, pods);
  ::kill(child, SIGTERM);
  ::waitpid(child, nullptr, 0);
  std::filesystem::remove_all(folder);
  return 0;
}
