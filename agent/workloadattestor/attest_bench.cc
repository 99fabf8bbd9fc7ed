// SPDX-License-Identifier: Apache-2.0

// Prints what attesting a real process costs in CPU: on the calling thread, through the workers,
// and with the executable's hash; beside it the bare read of /proc/<pid>/status.

#include <cstdio>
#include <ctime>

#include "agent/peer/fake_child.h"
#include "agent/workloadattestor/attestors.h"
#include "agent/workloadattestor/unix_attestor.h"
#include "lib/io/asio_loop.h"
#include "lib/io/worker_pool.h"

namespace steeple::agent {
namespace {

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
  auto proc_fs = real_proc_fs();
  FakeSocket socket;
  FakeChild child([&] {
    socket.connect();
    ::execl("/bin/cat", "cat", nullptr);
  });
  auto peer = socket.accept();
  auto process = WorkloadProcess::of_peer(peer, *proc_fs).take();
  auto names = account_names();
  io::AsioLoop loop;
  io::WorkerPool workers;
  std::vector<std::unique_ptr<WorkloadAttestor>> plain, hashing;
  plain.push_back(unix_attestor({}, *names));
  hashing.push_back(unix_attestor({.discover_workload_path = true}, *names));
  Attestors attestors(workers, std::move(plain));
  Attestors with_hash(workers, std::move(hashing));

  print("read of status", 20'000, [&] { (void)process->read("status").take(); });
  print("alive", 20'000, [&] { process->alive().take(); });
  print("attest, this thread", 20'000, [&] {
    auto handle = WorkloadProcess::of_peer(peer, *proc_fs).take();
    (void)attestors.attest_here(*handle).take();
  });
  print("attest, by a worker and back", 5'000, [&] {
    attestors.attest(loop, process, [&](auto answer) {
      (void)std::move(answer).take();
      loop.stop();
    });
    loop.run();
  });
  print("attest with path and hash of cat", 1'000,
        [&] { (void)with_hash.attest_here(*process).take(); });
}

}  // namespace
}  // namespace steeple::agent

int main() {
  steeple::agent::run();
  return 0;
}
