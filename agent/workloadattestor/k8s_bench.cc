// SPDX-License-Identifier: Apache-2.0

// Prints what the `k8s` attestor costs on a node with 500 pods, in CPU: reading the kubelet's list
// (beside the bare parse of the same bytes), and attesting a process whose pod is known.

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "agent/peer/fake_proc_fs.h"
#include "agent/workloadattestor/fake_pods.h"
#include "agent/workloadattestor/k8s_attestor.h"
#include "agent/workloadattestor/pod_list.h"
#include "lib/base/fake_random.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_workers.h"
#include "lib/kube/fake_transport.h"

namespace steeple::agent {
namespace {

constexpr int kPods = 500;
constexpr pid_t kPid = 100;

double cpu_us() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

void print(const char* what, int rounds, const std::function<void()>& once) {
  once();
  double begin = cpu_us();
  for (int i = 0; i < rounds; ++i) {
    once();
  }
  std::printf("%s: %.1f us\n", what, (cpu_us() - begin) / rounds);
}

void run() {
  constexpr std::size_t kPiece = 16384;
  std::vector<FakePod> pods;
  for (int i = 0; i < kPods; ++i) {
    pods.push_back(fake_pod(i));
  }
  const std::string text = pod_list(pods);
  std::printf("list of %d pods: %zu bytes\n", kPods, text.size());
  print("nlohmann parse of the whole list", 10, [&] { (void)nlohmann::json::parse(text).size(); });
  print("PodListReader in pieces of 16 KiB", 10, [&] {
    PodListReader reader;
    for (std::size_t at = 0; at < text.size(); at += kPiece) {
      CHECK(reader.feed(ByteView(text).substr(at, kPiece)).ok());
    }
    CHECK(reader.finish().take().size() == kPods);
  });

  FakeClock clock;
  io::SimScheduler scheduler(clock, 1);
  io::SimLoop loop(scheduler);
  io::SimWorkers workers(scheduler);
  SeededRandom random(1);
  FakeProcFs proc_fs;
  kube::FakeTransport kubelet;
  K8sAttestorOptions options;
  options.kubelet.server = "https://node:10250";
  auto attestor = k8s_attestor(options, {.loop = loop,
                                         .transport = kubelet,
                                         .random = random,
                                         .environment = [](const char*) { return std::nullopt; },
                                         .log = {}});
  proc_fs.start(kPid, {});
  proc_fs.set_file(kPid, "cgroup",
                   "0::/kubepods/pod" + pods[250].uid + "/" + pods[250].container_id + "\n");
  auto process = WorkloadProcess::of_peer(proc_fs.connect(kPid, true), proc_fs).take();
  int answers = 0;
  auto attest = [&] {
    attestor->start(workers, process, [&](Result<Selectors> selectors) {
      CHECK(selectors.ok() && !selectors->empty());
      ++answers;
    });
    scheduler.run_ready();
  };
  attest();
  kubelet.last().answer(200, text);
  print("attestation of a process whose pod is known", 10'000, attest);
  CHECK(answers == 10'002);
}

}  // namespace
}  // namespace steeple::agent

int main() {
  steeple::agent::run();
  return 0;
}
