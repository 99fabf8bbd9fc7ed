// SPDX-License-Identifier: Apache-2.0

// The disk seam: a folder that holds small state files (keys.json, agent-data.json, journals).
// `write` is atomic and durable: temporary file, fsync, rename, fsync of the folder. The twin in
// memory can lose unsynced writes and run slow. Thread safe; calls block, so use them on a worker.

#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"

namespace steeple::io {

class Directory {
 public:
  virtual ~Directory() = default;
  // kNotFound when there is no such file.
  virtual Result<Bytes> read(const std::string& name) = 0;
  virtual Result<void> write(const std::string& name, ByteView content, mode_t mode) = 0;
  // No error when it is not there.
  virtual Result<void> remove(const std::string& name) = 0;
  virtual Result<std::vector<std::string>> list() = 0;
};

// Creates the folder (mode 0750) when missing.
Result<std::unique_ptr<Directory>> open_directory(const std::string& path);

// mkdir -p; what stands is left as it is.
Result<void> make_directories(const std::string& path, mode_t mode);

// The whole file with a size limit, for configuration and certificates named by a path.
Result<Bytes> read_file(const std::string& path, std::size_t bytes_max);
// As Directory::write, for a path.
Result<void> write_file(const std::string& path, ByteView content, mode_t mode);

}  // namespace steeple::io
