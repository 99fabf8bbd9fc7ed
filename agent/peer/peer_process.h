// SPDX-License-Identifier: Apache-2.0

// Step 2 of the flow: from the kernel's word on who connected to a checked handle on that process.
// The handle answers two questions: is the caller still the process that connected, and what does
// /proc say about it. A pid alone is never trusted: it may have been reused.
//
// The rule for users: collect what you need, then ask `alive()`; only if it says yes was all of it
// about the caller. Ask again before every push.
//
// With a pidfd `alive` is one poll(2). On kernels without SO_PEERPIDFD the start time recorded at
// accept and the effective ids of connect(2) are compared, as the reference does.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "agent/peer/proc_fs.h"
#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/io/connection.h"

namespace steeple::agent {

// Immutable; any thread. Keeps the Peer alive, and so the pidfd.
class WorkloadProcess {
  struct Private {};

 public:
  // For of_peer and of_pid only.
  WorkloadProcess(Private, std::shared_ptr<const io::Peer> peer, ProcFs& proc_fs)
      : peer_(std::move(peer)), proc_fs_(proc_fs) {}

  // kUnauthenticated when the peer is not a process that we can name (no Unix socket, pid 0: a
  // caller from a pid namespace that we cannot see), or when it is gone already.
  static Result<std::shared_ptr<const WorkloadProcess>> of_peer(
      std::shared_ptr<const io::Peer> peer, ProcFs& proc_fs);
  // For requests that name a process by its pid (Delegated Identity): pins it now.
  static Result<std::shared_ptr<const WorkloadProcess>> of_pid(pid_t pid, ProcFs& proc_fs);

  pid_t pid() const { return process().pid; }
  // kUnauthenticated once the process has exited, also when its pid runs something else now, and
  // when we cannot tell.
  Result<void> alive() const;

  // See ProcFs. What they return is the caller's only if `alive()` holds afterwards.
  Result<Bytes> read(const char* name) const { return proc_fs_.read(pid(), name); }
  Result<std::string> read_link(const char* name) const { return proc_fs_.read_link(pid(), name); }
  Result<io::FileDescriptor> open(const char* name) const { return proc_fs_.open(pid(), name); }
  std::string path(const char* name) const { return proc_fs_.path(pid(), name); }

 private:
  const io::PeerProcess& process() const { return *peer_->process; }
  Result<void> same_start() const;

  std::shared_ptr<const io::Peer> peer_;
  ProcFs& proc_fs_;
};

// Field 22 of /proc/<pid>/stat: clock ticks since boot. The name in field 2 may hold spaces and
// parentheses.
Result<std::uint64_t> parse_start_time(ByteView stat);

// From /proc/<pid>/status: the effective ids (second of the four) and the supplementary groups as
// the kernel prints them.
struct ProcessIds {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};
Result<ProcessIds> parse_process_ids(ByteView status);

}  // namespace steeple::agent
