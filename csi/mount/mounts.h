// SPDX-License-Identifier: Apache-2.0

// The mount seam: what the driver asks of the kernel. The real one makes system calls and needs
// CAP_SYS_ADMIN; the twin (fake_mounts.h) keeps a table in memory. Calls block for as long as the
// kernel does; the driver makes them all from one worker, so that they never overlap.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "csi/mount/mountinfo.h"
#include "lib/base/result.h"

namespace steeple::csi {

// Which directory a path leads to. Two that are there at the same time never share it, not even
// when one of them is deleted and only a mount still holds it.
struct DirectoryIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool deleted = false;  // no path leads to it any more

  bool same_as(const DirectoryIdentity& other) const {
    return device == other.device && inode == other.inode;
  }
};

enum class Unmount : std::uint8_t {
  kNow,   // EBUSY when something uses it
  kLazy,  // gone from sight at once, from memory when nothing uses it any more
};

class Mounts {
 public:
  virtual ~Mounts() = default;
  virtual Result<std::vector<Mount>> list() = 0;
  // Shows the directory `source` at `target` as well, writable. On a target that is a mount
  // already the new one lies on top, and shared copies of the lower one get it, too.
  virtual Result<void> bind(const std::string& source, const std::string& target) = 0;
  // The topmost mount there.
  virtual Result<void> unmount(const std::string& target, Unmount how) = 0;
  // kNotFound when there is none; kFailedPrecondition when it is no directory.
  virtual Result<DirectoryIdentity> identify(const std::string& path) = 0;
};

// `table` is read anew for every list.
std::unique_ptr<Mounts> kernel_mounts(std::string table = "/proc/self/mountinfo");

// How many mounts lie on each other at that place; 0: it is none.
std::size_t layers_at(const std::vector<Mount>& mounts, const std::string& mount_point);

}  // namespace steeple::csi
