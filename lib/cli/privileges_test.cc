// SPDX-License-Identifier: Apache-2.0

// Goal: what a hardened process can no longer do, and what it still can. Each test hardens a child
// process, which reports by its exit status, because there is no way back.

#include "lib/cli/privileges.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "lib/cli/daemon.h"

namespace steeple::cli {
namespace {

// What the child returned, or 128 and the signal that ended it.
int in_child(const std::function<int()>& work) {
  pid_t child = ::fork();
  if (child == 0) {
    ::_exit(work());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::map<std::string, std::string> own_status() {
  std::map<std::string, std::string> out;
  std::ifstream file("/proc/self/status");
  std::string name, value;
  while (file >> name && std::getline(file >> std::ws, value)) {
    out[name] = value;
  }
  return out;
}

std::uint64_t capability_set(const char* name) {
  return std::stoull(own_status()[name], nullptr, 16);
}

bool answers(int error, long result) { return result == -1 && errno == error; }

TEST(PrivilegesTest, HardeningLeavesNothingToComplainAbout) {
  EXPECT_EQ(in_child([] { return static_cast<int>(harden_process({}).size()); }), 0);
}

TEST(PrivilegesTest, OnlyTheCapabilitiesNamedRemainInAnySet) {
  if (capability_set("CapEff:") == 0) {
    GTEST_SKIP() << "the process has no capabilities to lose";
  }
  EXPECT_EQ(in_child([] {
              static_cast<void>(harden_process(std::array{CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH}));
              constexpr std::uint64_t kWant = 1 << CAP_SYS_PTRACE | 1 << CAP_DAC_READ_SEARCH |
                                              1 << CAP_NET_BIND_SERVICE | 1 << CAP_DAC_OVERRIDE;
              return static_cast<int>(capability_set("CapEff:") != kWant) |
                     static_cast<int>(capability_set("CapPrm:") != kWant) << 1 |
                     static_cast<int>(capability_set("CapBnd:") != kWant) << 2 |
                     static_cast<int>(capability_set("CapInh:") != 0) << 3 |
                     static_cast<int>(capability_set("CapAmb:") != 0) << 4;
            }),
            0);
}

TEST(PrivilegesTest, WhatTheProcessNeverHadItDoesNotGain) {
  EXPECT_EQ(in_child([] {
              static_cast<void>(keep_capabilities({}));
              auto again = keep_capabilities(std::array{CAP_SYS_PTRACE});
              return static_cast<int>(!again.ok()) |
                     static_cast<int>(capability_set("CapPrm:") != 0) << 1;
            }),
            0);
}

TEST(PrivilegesTest, TheFilterIsInForceAndNoPrivilegesComeThroughExec) {
  EXPECT_EQ(in_child([] {
              static_cast<void>(harden_process({}));
              auto status = own_status();
              return static_cast<int>(status["Seccomp:"] != "2") |
                     static_cast<int>(status["NoNewPrivs:"] != "1") << 1 |
                     static_cast<int>(::prctl(PR_GET_DUMPABLE) != 0) << 2;
            }),
            0);
}

TEST(PrivilegesTest, SystemCallsThatADaemonNeverMakesAreNotPermitted) {
  EXPECT_EQ(in_child([] {
              static_cast<void>(harden_process({}));
              // Without the filter: EFAULT, EINVAL, EBADF or success.
              return static_cast<int>(!answers(EPERM, ::syscall(SYS_bpf, 0, nullptr, 0))) |
                     static_cast<int>(!answers(EPERM, ::syscall(SYS_keyctl, 0, -3, 0))) << 1 |
                     static_cast<int>(!answers(EPERM, ::syscall(SYS_unshare, 0))) << 2 |
                     static_cast<int>(!answers(EPERM, ::mount("", "", "", 0, nullptr))) << 3 |
                     static_cast<int>(!answers(EPERM, ::syscall(SYS_kcmp, 0, 0, 0, 0, 0))) << 4 |
                     static_cast<int>(!answers(EPERM, ::syscall(SYS_process_vm_readv, ::getpid(),
                                                                nullptr, 0, nullptr, 0, 0)))
                         << 5 |
                     static_cast<int>(!answers(ENOSYS, ::syscall(SYS_clone3, nullptr, 0))) << 6;
            }),
            0);
}

TEST(PrivilegesTest, NoUserNamespaceGivesCapabilitiesBack) {
  EXPECT_EQ(in_child([] {
              static_cast<void>(harden_process({}));
              long child =
                  ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
              if (child == 0) {
                ::_exit(0);
              }
              return static_cast<int>(!answers(EPERM, child));
            }),
            0);
}

bool threads_work() {
#if defined(__SANITIZE_THREAD__)
  return true;  // it does not follow threads of a forked process
#else
  pthread_t thread{};
  bool ran = false;
  auto run = [](void* to) -> void* {
    *static_cast<bool*>(to) = true;
    return nullptr;
  };
  return ::pthread_create(&thread, nullptr, run, &ran) == 0 &&
         ::pthread_join(thread, nullptr) == 0 && ran;
#endif
}

TEST(PrivilegesTest, ThreadsProgramsAndFilesStillWork) {
  EXPECT_EQ(in_child([] {
              static_cast<void>(harden_process({}));
              bool programs = in_child([] {
                                ::execl("/bin/true", "true", nullptr);
                                return 1;
                              }) == 0;
              bool files = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC) >= 0;
              return static_cast<int>(!threads_work()) | static_cast<int>(!programs) << 1 |
                     static_cast<int>(!files) << 2;
            }),
            0);
}

}  // namespace
}  // namespace steeple::cli
