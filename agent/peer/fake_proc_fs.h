// SPDX-License-Identifier: Apache-2.0

// The twin of /proc: processes in memory. A pid can exit and be given to another process at any
// moment, also from a hook in the middle of a read, which is what pid reuse during attestation
// means. Its pidfds are eventfds, readable once the process has exited, so that the code under test
// polls them as real ones; executables are memfds. Thread safe, except for the hook.

#pragma once

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/peer/proc_fs.h"
#include "lib/base/check.h"
#include "lib/base/guarded.h"
#include "lib/io/connection.h"

namespace steeple::agent {

struct FakeProcess {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
  std::string executable = "/bin/workload";
  Bytes content = "workload's code";
};

class FakeProcFs final : public ProcFs {
 public:
  // Takes over the pid if an exited process had it; a living one is a bug of the test.
  void start(pid_t pid, FakeProcess process) {
    auto state = state_.lock();
    Entry& entry = state->processes[pid];
    CHECK(!entry.alive);
    entry = Entry{std::move(process), state->next_start++, true, {}, {}};
  }
  void exit(pid_t pid) {
    auto state = state_.lock();
    Entry& entry = state->processes.at(pid);
    entry.alive = false;
    for (const auto& pidfd : entry.pidfds) {
      std::uint64_t one = 1;
      CHECK(::write(pidfd.get(), &one, sizeof one) == sizeof one);
    }
    entry.pidfds.clear();
  }

  // What the kernel records of a caller at accept.
  std::shared_ptr<const io::Peer> connect(pid_t pid, bool with_pidfd) {
    auto peer = std::make_shared<io::Peer>();
    auto state = state_.lock();
    Entry& entry = state->processes.at(pid);
    io::PeerProcess& process = peer->process.emplace();
    process.pid = pid;
    process.uid = entry.process.uid;
    process.gid = entry.process.gid;
    if (with_pidfd) {
      process.pidfd = pidfd_of(entry);
    } else {
      process.start_time = entry.start_time;
    }
    return peer;
  }

  // Runs before each read, with the name of what is read.
  void before_read(std::function<void(const std::string&)> hook) { hook_ = std::move(hook); }
  // As on kernels before 5.3.
  void without_pidfd_open() { state_.lock()->pidfd_open = false; }
  // Any other file of the process, such as "cgroup".
  void set_file(pid_t pid, const std::string& name, Bytes content) {
    state_.lock()->processes.at(pid).files[name] = std::move(content);
  }
  void fail_reads_of(std::string name) { state_.lock()->failing = std::move(name); }

  Result<Bytes> read(pid_t pid, const char* name) override {
    call_hook(name);
    auto state = state_.lock();
    const Entry* entry = TRY(find(*state, pid, name));
    if (auto file = entry->files.find(name); file != entry->files.end()) {
      return file->second;
    }
    if (std::string_view(name) == "status") {
      return status_of(pid, *entry);
    }
    if (std::string_view(name) == "stat") {
      return fmt::format("{} (a ) b) S{} {} 0 0\n", pid, kZeros, entry->start_time);
    }
    return not_found(fmt::format("open {}: no such file or directory", path(pid, name)));
  }
  Result<std::string> read_link(pid_t pid, const char* name) override {
    call_hook(name);
    auto state = state_.lock();
    return TRY(find(*state, pid, name))->process.executable;
  }
  Result<io::FileDescriptor> open(pid_t pid, const char* name) override {
    call_hook(name);
    auto state = state_.lock();
    const Bytes& content = TRY(find(*state, pid, name))->process.content;
    io::FileDescriptor file(::memfd_create("executable", MFD_CLOEXEC));
    CHECK(file.valid() && ::pwrite(file.get(), content.data(), content.size(), 0) ==
                              static_cast<ssize_t>(content.size()));
    return file;
  }
  Result<io::FileDescriptor> open_pidfd(pid_t pid) override {
    auto state = state_.lock();
    if (!state->pidfd_open) {
      return unimplemented("this kernel has no pidfd_open");
    }
    (void)TRY(find(*state, pid, "pidfd"));
    return pidfd_of(state->processes.at(pid));
  }
  std::string path(pid_t pid, const char* name) const override {
    return fmt::format("/proc/{}/{}", pid, name);
  }

 private:
  struct Entry {
    FakeProcess process;
    std::uint64_t start_time = 0;
    bool alive = false;
    std::vector<io::FileDescriptor> pidfds;
    std::map<std::string, Bytes> files = {};
  };
  struct State {
    std::map<pid_t, Entry> processes;
    std::uint64_t next_start = 1000;
    bool pidfd_open = true;
    std::string failing;
  };
  // Fields 4 to 21 of stat, each with the space before it.
  static constexpr const char* kZeros = " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";

  void call_hook(const std::string& name) {
    if (hook_) {
      hook_(name);
    }
  }
  Result<const Entry*> find(const State& state, pid_t pid, const char* name) const {
    auto found = state.processes.find(pid);
    if (found == state.processes.end() || !found->second.alive) {
      return not_found(fmt::format("open {}: no such file or directory", path(pid, name)));
    }
    if (state.failing == name) {
      return permission_denied(fmt::format("open {}: permission denied", path(pid, name)));
    }
    return &found->second;
  }
  static io::FileDescriptor pidfd_of(Entry& entry) {
    io::FileDescriptor ours(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    io::FileDescriptor theirs(::dup(ours.get()));
    CHECK(ours.valid() && theirs.valid());
    if (entry.alive) {
      entry.pidfds.push_back(std::move(ours));
    } else {
      std::uint64_t one = 1;
      CHECK(::write(ours.get(), &one, sizeof one) == sizeof one);
    }
    return theirs;
  }
  static Bytes status_of(pid_t pid, const Entry& entry) {
    std::string groups;
    for (gid_t group : entry.process.groups) {
      groups += fmt::format("{} ", group);
    }
    // The real ids differ from the effective ones, which are meant.
    return fmt::format(
        "Name:\tworkload\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{0}\nPid:\t{0}\n"
        "Uid:\t7\t{1}\t8\t9\nGid:\t7\t{2}\t8\t9\nFDSize:\t64\nGroups:\t{3}\n",
        pid, entry.process.uid, entry.process.gid, groups);
  }

  mutable Guarded<State> state_;
  std::function<void(const std::string&)> hook_;
};

}  // namespace steeple::agent
