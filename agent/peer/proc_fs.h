// SPDX-License-Identifier: Apache-2.0

// The /proc seam: what the agent reads about a workload's process. The real one reads the kernel's
// files; the twin (fake_proc_fs.h) holds processes in memory whose ids a test can let go and reuse.
// Reads are by pid and so race with its reuse: only WorkloadProcess (peer_process.h), which checks
// the process before and after, may call them. Thread safe; calls block for as long as /proc does.

#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/io/file_descriptor.h"

namespace steeple::agent {

// No file that we read there is longer (status, stat, cgroup; mountinfo of a crowded node).
inline constexpr std::size_t kProcFileBytesMax = std::size_t{1} << 20;

class ProcFs {
 public:
  virtual ~ProcFs() = default;
  // All of /proc/<pid>/<name>. kNotFound when there is no such process, kResourceExhausted above
  // kProcFileBytesMax.
  virtual Result<Bytes> read(pid_t pid, const char* name) = 0;
  // Where the link /proc/<pid>/<name> points, e.g. "exe".
  virtual Result<std::string> read_link(pid_t pid, const char* name) = 0;
  // Opens /proc/<pid>/<name> for reading: for "exe" the very file that the process runs, whatever
  // its path means in our mount namespace.
  virtual Result<io::FileDescriptor> open(pid_t pid, const char* name) = 0;
  // A descriptor that polls readable once the process has exited. kUnimplemented on kernels
  // before 5.3.
  virtual Result<io::FileDescriptor> open_pidfd(pid_t pid) = 0;
  // "/proc/<pid>/<name>", for messages.
  virtual std::string path(pid_t pid, const char* name) const = 0;
};

// The kernel's, at `root` ("/proc", or HOST_PROC's value in a container that sees the host's).
std::unique_ptr<ProcFs> real_proc_fs(std::string root = "/proc");

}  // namespace steeple::agent
