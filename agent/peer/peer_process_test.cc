// SPDX-License-Identifier: Apache-2.0

// Goal: a handle says "alive" of the process that connected and of no other. Method: real children
// on real sockets, and the twin of /proc for pids that are reused.

#include "agent/peer/peer_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/peer/fake_child.h"
#include "agent/peer/fake_proc_fs.h"

namespace steeple::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr pid_t kPid = 4711;

TEST(PeerProcess, ARealCallerIsAliveUntilItExits) {
  auto proc_fs = real_proc_fs();
  FakeSocket socket;
  FakeChild child([&] { socket.connect(); });
  auto process = WorkloadProcess::of_peer(socket.accept(), *proc_fs).take();
  EXPECT_EQ(process->pid(), child.pid());
  EXPECT_TRUE(process->alive().ok());
  EXPECT_EQ(parse_process_ids(process->read("status").take()).take().uid, ::geteuid());
  child.kill();
  EXPECT_EQ(process->alive().error().code, Code::kUnauthenticated);
  EXPECT_EQ(process->alive().error().message, "caller has exited");
  EXPECT_EQ(process->read("status").error().code, Code::kNotFound);
}

TEST(PeerProcess, AZombieIsNotAlive) {
  auto proc_fs = real_proc_fs();
  FakeSocket socket;
  FakeChild child([&] { socket.connect(); });
  auto process = WorkloadProcess::of_peer(socket.accept(), *proc_fs).take();
  child.kill_unreaped();
  EXPECT_TRUE(process->read("status").ok()) << "its entry is still there";
  EXPECT_FALSE(process->alive().ok());
}

TEST(PeerProcess, ACallerThatIsGoneAtAcceptIsRefused) {
  auto proc_fs = real_proc_fs();
  FakeSocket socket;
  FakeChild child([&] { socket.connect(); });
  child.kill();
  auto process = WorkloadProcess::of_peer(socket.accept(), *proc_fs);
  EXPECT_EQ(process.error().code, Code::kUnauthenticated);
}

TEST(PeerProcess, AnExecKeepsTheProcessAlive) {
  auto proc_fs = real_proc_fs();
  FakeSocket socket;
  FakeChild child([&] {
    socket.connect();
    ::execl("/bin/cat", "cat", nullptr);
  });
  auto process = WorkloadProcess::of_peer(socket.accept(), *proc_fs).take();
  EXPECT_TRUE(process->alive().ok());
  EXPECT_THAT(process->read_link("exe").take(), HasSubstr("cat"));
}

TEST(PeerProcess, APidThatSomebodyNamedIsPinned) {
  auto proc_fs = real_proc_fs();
  FakeChild child([] {});
  auto process = WorkloadProcess::of_pid(child.pid(), *proc_fs).take();
  EXPECT_TRUE(process->alive().ok());
  pid_t gone = child.pid();
  child.kill();
  EXPECT_FALSE(process->alive().ok());
  EXPECT_EQ(WorkloadProcess::of_pid(gone, *proc_fs).error().code, Code::kNotFound);
  EXPECT_EQ(WorkloadProcess::of_pid(0, *proc_fs).error().code, Code::kInvalidArgument);
}

TEST(PeerProcess, AConnectionWithoutAProcessIsRefused) {
  FakeProcFs proc_fs;
  auto tcp = std::make_shared<io::Peer>();
  EXPECT_EQ(WorkloadProcess::of_peer(tcp, proc_fs).error().code, Code::kUnauthenticated);
  auto foreign_namespace = std::make_shared<io::Peer>();
  foreign_namespace->process.emplace();
  EXPECT_EQ(WorkloadProcess::of_peer(foreign_namespace, proc_fs).error().code,
            Code::kUnauthenticated);
}

class PidReuse : public testing::TestWithParam<bool> {
 protected:
  FakeProcFs proc_fs_;
};
INSTANTIATE_TEST_SUITE_P(Kernels, PidReuse, testing::Values(true, false), [](const auto& chosen) {
  return chosen.param ? "WithPidfd" : "WithStartTime";
});

TEST_P(PidReuse, AReusedPidIsNotTheCaller) {
  proc_fs_.start(kPid, {.uid = 1000, .gid = 1000});
  auto process = WorkloadProcess::of_peer(proc_fs_.connect(kPid, GetParam()), proc_fs_).take();
  EXPECT_TRUE(process->alive().ok());
  proc_fs_.exit(kPid);
  EXPECT_FALSE(process->alive().ok());
  proc_fs_.start(kPid, {.uid = 1000, .gid = 1000});
  EXPECT_EQ(process->alive().error().code, Code::kUnauthenticated);
}

TEST_P(PidReuse, APidReusedBeforeWeLookIsRefused) {
  proc_fs_.start(kPid, {.uid = 1000});
  auto peer = proc_fs_.connect(kPid, GetParam());
  proc_fs_.exit(kPid);
  proc_fs_.start(kPid, {.uid = 0});
  EXPECT_EQ(WorkloadProcess::of_peer(peer, proc_fs_).error().code, Code::kUnauthenticated);
}

TEST(PeerProcess, WithoutPidfdAChangedUserIsNotBelieved) {
  FakeProcFs proc_fs;
  proc_fs.start(kPid, {.uid = 1000, .gid = 1000});
  auto recorded = proc_fs.connect(kPid, false);
  for (bool uid : {true, false}) {
    // Reused between connect and accept: the start time is the new process's, the ids are not.
    auto peer = std::make_shared<io::Peer>();
    peer->process.emplace();
    peer->process->pid = kPid;
    peer->process->start_time = recorded->process->start_time;
    peer->process->uid = uid ? 0 : 1000;
    peer->process->gid = uid ? 1000 : 0;
    EXPECT_THAT(WorkloadProcess::of_peer(peer, proc_fs).error().message,
                HasSubstr("does not match original caller"));
  }
}

TEST(PeerProcess, WithoutPidfdAnUnreadableProcMeansNotAlive) {
  FakeProcFs proc_fs;
  proc_fs.without_pidfd_open();
  proc_fs.start(kPid, {.uid = 1000});
  auto process = WorkloadProcess::of_pid(kPid, proc_fs).take();
  EXPECT_TRUE(process->alive().ok());
  proc_fs.fail_reads_of("stat");
  EXPECT_FALSE(process->alive().ok());
  proc_fs.fail_reads_of("status");
  EXPECT_FALSE(process->alive().ok());
}

TEST(ProcParsers, TheStartTimeIsCountedFromTheEndOfTheName) {
  std::string zeros = " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
  EXPECT_EQ(parse_start_time("1 (sh) S" + zeros + " 12345 0 0\n").take(), 12345U);
  EXPECT_EQ(parse_start_time("1 (a) S 1 2 3 (b) S" + zeros + " 99 0\n").take(), 99U);
  EXPECT_FALSE(parse_start_time("").ok());
  EXPECT_FALSE(parse_start_time("1 sh S" + zeros + " 12345").ok());
  EXPECT_FALSE(parse_start_time("1 (sh) S" + zeros).ok());
  EXPECT_FALSE(parse_start_time("1 (sh) S" + zeros + " 12x").ok());
  EXPECT_FALSE(parse_start_time("1 (sh) S" + zeros + " 99999999999999999999999").ok());
}

TEST(ProcParsers, TheEffectiveIdsAreTheSecondOfFour) {
  auto ids = parse_process_ids("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 20 30 \n")
                 .take();
  EXPECT_EQ(ids.uid, 2U);
  EXPECT_EQ(ids.gid, 6U);
  EXPECT_THAT(ids.groups, ElementsAre(10, 20, 30));
  EXPECT_TRUE(parse_process_ids("Uid:\t1\t2\nGid:\t5\t6\n").take().groups.empty());
  EXPECT_EQ(parse_process_ids("Uid:\t0\t4294967294\nGid:\t5\t6\n").take().uid, 4294967294U);
}

TEST(ProcParsers, AStatusWithoutIdsIsAnError) {
  EXPECT_EQ(parse_process_ids("").error().message, "UIDs lookup: no UIDs for process");
  EXPECT_FALSE(parse_process_ids("Uid:\t1\nGid:\t1\t2\n").ok());
  EXPECT_FALSE(parse_process_ids("Uid:\t1\t-1\nGid:\t1\t2\n").ok());
  EXPECT_FALSE(parse_process_ids("Uid:\t1\t4294967296\nGid:\t1\t2\n").ok());
  EXPECT_EQ(parse_process_ids("Uid:\t1\t2\t3\t4\n").error().message,
            "GIDs lookup: no GIDs for process");
  EXPECT_FALSE(parse_process_ids("Uid:\t1\t2\nGid:\t1\t2\nGroups:\t1 x\n").ok());
}

TEST(ProcParsers, AProcessCannotForgeItsIdsThroughItsName) {
  // The kernel writes a line feed in a name as "\n", so this is what it looks like.
  auto ids =
      parse_process_ids("Name:\tx\\nUid:\t0\t0\nUid:\t1\t1000\t3\t4\nGid:\t5\t6\t7\t8\n").take();
  EXPECT_EQ(ids.uid, 1000U);
}

}  // namespace
}  // namespace steeple::agent
