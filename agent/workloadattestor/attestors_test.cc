// SPDX-License-Identifier: Apache-2.0

// Goal: selectors are joined, failures dropped, and nothing is ever told about a process that is
// not the caller. Method: scripted attestors, real workers and loop, pids reused at every moment:
// by a seed on the twin of /proc, and for real through the kernel's pid counter.

#include "agent/workloadattestor/attestors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "agent/peer/fake_child.h"
#include "agent/peer/fake_proc_fs.h"
#include "agent/workloadattestor/unix_attestor.h"
#include "lib/base/fake_random.h"
#include "lib/io/asio_loop.h"
#include "lib/io/worker_pool.h"

namespace steeple::agent {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr pid_t kPid = 4711;

class ScriptedAttestor final : public BlockingAttestor {
 public:
  using Script = std::function<Result<Selectors>(const WorkloadProcess&)>;
  ScriptedAttestor(std::string name, Script script)
      : name_(std::move(name)), script_(std::move(script)) {}
  const std::string& name() const override { return name_; }
  Result<Selectors> attest(const WorkloadProcess& process) override { return script_(process); }

 private:
  const std::string name_;
  const Script script_;
};

ScriptedAttestor::Script says(Selectors selectors) {
  return [selectors](const WorkloadProcess&) -> Result<Selectors> { return selectors; };
}
ScriptedAttestor::Script fails(std::string message) {
  return [message](const WorkloadProcess&) -> Result<Selectors> { return internal(message); };
}

class NoNames final : public AccountNames {
 public:
  std::optional<std::string> user(uid_t) override { return std::nullopt; }
  std::optional<std::string> group(gid_t) override { return std::nullopt; }
};

// Runs nothing: its queue is always full.
class FullWorkers final : public io::Workers {
 public:
  Result<void> submit(io::Task) override { return resource_exhausted("the queue is full"); }
};

// Both ways to attest keep the same promises.
class AttestorsTest : public testing::TestWithParam<bool> {
 protected:
  void add(std::string name, ScriptedAttestor::Script script) {
    list_.push_back(std::make_unique<ScriptedAttestor>(std::move(name), std::move(script)));
  }
  Result<Selectors> attest() {
    return attest(WorkloadProcess::of_peer(proc_fs_.connect(kPid, true), proc_fs_).take());
  }
  Result<Selectors> attest(std::shared_ptr<const WorkloadProcess> process) {
    Attestors attestors(workers_, std::move(list_),
                        {.failed = [this](const std::string& name, pid_t pid, const Error& error) {
                          auto told = told_.lock();
                          told->push_back(fmt::format("{} {}: {}", name, pid, error.message));
                        }});
    if (GetParam()) {
      return attestors.attest_here(*process);
    }
    std::optional<Result<Selectors>> result;
    attestors.attest(loop_, std::move(process), [&](Result<Selectors> answer) {
      EXPECT_TRUE(loop_.on_loop());
      result.emplace(std::move(answer));
      loop_.stop();
    });
    loop_.run();
    return std::move(*result);
  }
  std::vector<std::string> told() { return *told_.lock(); }

  FakeProcFs proc_fs_;
  io::AsioLoop loop_;
  io::WorkerPool workers_{{.threads = 4, .queue_max = 100}};
  std::vector<std::unique_ptr<WorkloadAttestor>> list_;
  Guarded<std::vector<std::string>> told_;
};

INSTANTIATE_TEST_SUITE_P(Ways, AttestorsTest, testing::Values(true, false),
                         [](const auto& chosen) { return chosen.param ? "Here" : "OnWorkers"; });

// Answers when the test says so.
class WaitingAttestor final : public WorkloadAttestor {
 public:
  const std::string& name() const override { return name_; }
  void start(io::Workers&, std::shared_ptr<const WorkloadProcess>,
             SelectorsHandler handler) override {
    waiting_.push_back(std::move(handler));
  }
  void answer(const Selectors& selectors) {
    for (SelectorsHandler& handler : std::exchange(waiting_, {})) {
      handler(selectors);
    }
  }

 private:
  const std::string name_ = "k8s";
  std::vector<SelectorsHandler> waiting_;
};

TEST(WaitingAttestorTest, HoldsNoWorkerWhileItWaitsAndTheResultComesWithItsAnswer) {
  FakeProcFs proc_fs;
  proc_fs.start(kPid, {});
  io::AsioLoop loop;
  io::WorkerPool workers({.threads = 1, .queue_max = 100});
  auto owned = std::make_unique<WaitingAttestor>();
  WaitingAttestor& waiting = *owned;
  std::vector<std::unique_ptr<WorkloadAttestor>> list;
  list.push_back(std::move(owned));
  list.push_back(std::make_unique<ScriptedAttestor>("unix", says({{"unix", "uid:0"}})));
  Attestors attestors(workers, std::move(list));
  EXPECT_FALSE(attestors.all_blocking());

  constexpr int kMany = 20;
  int answered = 0;
  for (int i = 0; i < kMany; ++i) {
    attestors.attest(loop, WorkloadProcess::of_peer(proc_fs.connect(kPid, true), proc_fs).take(),
                     [&](Result<Selectors> answer) {
                       EXPECT_THAT(*answer, ElementsAre(Selector{"k8s", "ns:default"},
                                                        Selector{"unix", "uid:0"}));
                       if (++answered == kMany) {
                         loop.stop();
                       }
                     });
  }
  // The one worker is free: it comes to this task although all attestations wait.
  ASSERT_TRUE(
      workers.submit([&] { loop.post([&] { waiting.answer({{"k8s", "ns:default"}}); }); }).ok());
  loop.run();
  EXPECT_EQ(answered, kMany);
}

TEST_P(AttestorsTest, SelectorsAreJoinedInTheOrderOfConfiguration) {
  proc_fs_.start(kPid, {});
  add("unix", says({{"unix", "uid:0"}, {"unix", "gid:0"}}));
  add("k8s", says({}));
  add("docker", says({{"docker", "image_id:x"}}));
  EXPECT_THAT(attest().take(), ElementsAre(Selector{"unix", "uid:0"}, Selector{"unix", "gid:0"},
                                           Selector{"docker", "image_id:x"}));
  EXPECT_THAT(told(), IsEmpty());
}

TEST_P(AttestorsTest, AFailingAttestorIsToldAndDropped) {
  proc_fs_.start(kPid, {});
  add("k8s", fails("no kubelet"));
  add("unix", says({{"unix", "uid:0"}}));
  EXPECT_THAT(attest().take(), ElementsAre(Selector{"unix", "uid:0"}));
  EXPECT_THAT(told(), ElementsAre("k8s 4711: workloadattestor(k8s): no kubelet"));
}

TEST_P(AttestorsTest, WhenAllFailTheCallerLearnsOnlyThat) {
  proc_fs_.start(kPid, {});
  add("k8s", fails("secret detail"));
  add("unix", fails("another"));
  auto error = attest().error();
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_EQ(error.message, "workload attestation failed");
  EXPECT_EQ(told().size(), 2U);
}

TEST_P(AttestorsTest, AnAttestorThatKnowsNothingIsNoFailure) {
  proc_fs_.start(kPid, {});
  add("k8s", says({}));
  EXPECT_THAT(attest().take(), IsEmpty());
}

TEST_P(AttestorsTest, AProcessThatExitsDuringAttestationIsRefused) {
  proc_fs_.start(kPid, {});
  add("unix", [this](const WorkloadProcess&) -> Result<Selectors> {
    proc_fs_.exit(kPid);
    return Selectors{{"unix", "uid:0"}};
  });
  auto error = attest().error();
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_EQ(error.message, "workload attestation failed");
  EXPECT_THAT(told(), ElementsAre(" 4711: could not verify existence of the original caller: "
                                  "caller has exited"));
}

TEST_P(AttestorsTest, APidReusedBetweenAcceptAndAttestationIsRefused) {
  proc_fs_.start(kPid, {.uid = 1000});
  auto process = WorkloadProcess::of_peer(proc_fs_.connect(kPid, true), proc_fs_).take();
  proc_fs_.exit(kPid);
  proc_fs_.start(kPid, {.uid = 0});
  NoNames names;
  list_.push_back(unix_attestor({}, names));
  EXPECT_EQ(attest(process).error().message, "workload attestation failed");
}

TEST_P(AttestorsTest, WhereverThePidIsReusedNoSelectorOfTheNewProcessIsTold) {
  NoNames names;
  int refused = 0, attested = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SeededRandom random(seed);
    FakeProcFs proc_fs;
    proc_fs.start(kPid, {.uid = 1000, .gid = 1000, .executable = "/bin/honest"});
    bool with_pidfd = random.below(2) == 0;
    auto process = WorkloadProcess::of_peer(proc_fs.connect(kPid, with_pidfd), proc_fs).take();
    // Reads of this attestation: status, exe, exe; without pidfd also stat and status at the end.
    std::uint64_t reuse_at = random.below(6);
    proc_fs.before_read([&, count = std::uint64_t{0}](const std::string&) mutable {
      if (count++ == reuse_at) {
        proc_fs.exit(kPid);
        // A careful attacker has the same ids, so that only the executable differs.
        proc_fs.start(kPid, {.uid = 1000, .gid = 1000, .executable = "/bin/evil"});
      }
    });
    list_.clear();
    list_.push_back(unix_attestor({.discover_workload_path = true}, names));
    auto result = attest(process);
    refused += result.ok() ? 0 : 1;
    attested += result.ok() ? 1 : 0;
    if (result.ok()) {
      EXPECT_THAT(*result, Each(testing::Ne(Selector{"unix", "path:/bin/evil"}))) << seed;
    }
  }
  EXPECT_GT(refused, 50);
  EXPECT_GT(attested, 50) << "else the test would show nothing";
}

TEST_P(AttestorsTest, ForRealAReusedPidIsRefused) {
  auto proc_fs = real_proc_fs();
  FakeSocket socket;
  auto caller = std::make_unique<FakeChild>([&] { socket.connect(); });
  const pid_t pid = caller->pid();
  auto process = WorkloadProcess::of_peer(socket.accept(), *proc_fs).take();
  std::unique_ptr<FakeChild> successor;
  NoNames names;
  auto inner = unix_attestor({}, names);
  add("unix", [&](const WorkloadProcess& whom) -> Result<Selectors> {
    caller->kill();
    // Others may take the pid first; then there is nothing to see, and we try again.
    for (int attempt = 0; attempt < 100 && (!successor || successor->pid() != pid); ++attempt) {
      std::ofstream("/proc/sys/kernel/ns_last_pid") << pid - 1;
      successor = std::make_unique<FakeChild>([] {});
    }
    return inner->attest(whom);
  });
  auto result = attest(process);
  if (successor->pid() != pid) {
    GTEST_SKIP() << "the kernel does not let us choose a pid here";
  }
  EXPECT_TRUE(proc_fs->read(pid, "status").ok()) << "the pid is somebody else's now";
  EXPECT_EQ(result.error().message, "workload attestation failed");
  EXPECT_THAT(told(), ElementsAre(HasSubstr("could not verify existence of the original caller")));
}

TEST(Attestors, AFullQueueFailsTheAttestation) {
  FullWorkers workers;
  FakeProcFs proc_fs;
  proc_fs.start(kPid, {});
  std::vector<std::unique_ptr<WorkloadAttestor>> list;
  list.push_back(std::make_unique<ScriptedAttestor>("unix", says({})));
  list.push_back(std::make_unique<ScriptedAttestor>("k8s", says({})));
  Attestors attestors(workers, std::move(list));
  io::AsioLoop loop;
  std::optional<Result<Selectors>> result;
  attestors.attest(loop, WorkloadProcess::of_peer(proc_fs.connect(kPid, true), proc_fs).take(),
                   [&](Result<Selectors> answer) {
                     result.emplace(std::move(answer));
                     loop.stop();
                   });
  loop.run();
  EXPECT_EQ(result->error().code, Code::kUnavailable);
}

TEST(Attestors, RunningAttestationsSurviveTheObjectAndSlowOnesRunSideBySide) {
  FakeProcFs proc_fs;
  proc_fs.start(kPid, {});
  io::AsioLoop loop;
  std::optional<Result<Selectors>> result;
  {
    io::WorkerPool workers({.threads = 2, .queue_max = 10});
    // Each waits until the other has begun: one after the other they would never end.
    std::atomic<int> begun = 0;
    auto meet = [&begun](const WorkloadProcess&) -> Result<Selectors> {
      for (++begun; begun < 2;) {
      }
      return Selectors{{"a", "b"}};
    };
    std::vector<std::unique_ptr<WorkloadAttestor>> list;
    list.push_back(std::make_unique<ScriptedAttestor>("one", meet));
    list.push_back(std::make_unique<ScriptedAttestor>("two", meet));
    auto attestors = std::make_unique<Attestors>(workers, std::move(list));
    attestors->attest(loop, WorkloadProcess::of_peer(proc_fs.connect(kPid, true), proc_fs).take(),
                      [&](Result<Selectors> answer) {
                        result.emplace(std::move(answer));
                        loop.stop();
                      });
    attestors.reset();
    loop.run();
  }
  EXPECT_EQ(result->value().size(), 2U);
}

}  // namespace
}  // namespace steeple::agent
