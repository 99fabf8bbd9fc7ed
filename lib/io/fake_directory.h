// SPDX-License-Identifier: Apache-2.0

// The simulated twin of a folder on disk. It can refuse writes, break in the middle of one, and,
// as a disk that lies about fsync, forget at a crash what it had acknowledged. The content outlives
// the processes that use it: give the same MemoryDisk to the next one. Any thread.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/guarded.h"
#include "lib/io/directory.h"

namespace steeple::io {

struct MemoryFile {
  Bytes content;
  mode_t mode = 0;
};

// What a folder holds; shared by all MemoryDirectories that stand for it.
class MemoryDisk {
 public:
  // Every write and remove fails with this until cleared: disk full, read-only.
  void fail_writes(std::optional<Error> error);
  // The next write fails, and the seed of the test decides by `kept` whether the new content is
  // there afterwards: what a power cut during rename may leave.
  void break_next_write(bool kept);
  // A lying disk: from now on writes are not durable before `sync`; `crash` forgets them.
  void lie(bool lying);
  void sync();
  void crash();

  std::optional<MemoryFile> file(const std::string& name);
  std::uint64_t writes();

 private:
  friend class MemoryDirectory;
  struct State {
    std::map<std::string, MemoryFile> files;
    std::map<std::string, MemoryFile> durable;
    std::optional<Error> failure;
    std::optional<bool> break_kept;
    bool lying = false;
    std::uint64_t writes = 0;
  };
  Guarded<State> state_;
};

class MemoryDirectory final : public Directory {
 public:
  explicit MemoryDirectory(std::shared_ptr<MemoryDisk> disk) : disk_(std::move(disk)) {}
  MemoryDirectory() : MemoryDirectory(std::make_shared<MemoryDisk>()) {}

  Result<Bytes> read(const std::string& name) override;
  Result<void> write(const std::string& name, ByteView content, mode_t mode) override;
  Result<void> remove(const std::string& name) override;
  Result<std::vector<std::string>> list() override;

 private:
  const std::shared_ptr<MemoryDisk> disk_;
};

}  // namespace steeple::io
