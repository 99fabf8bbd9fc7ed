// SPDX-License-Identifier: Apache-2.0

// Writes files so that a reader, and a machine that loses its power, sees the old content or the
// new one, never a part. Several files of one identity are all prepared before the first is put in
// place: when one cannot be written, none changes. Blocks; any thread.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/secret_bytes.h"

namespace steeple::helper {

struct FileContent {
  std::string path;
  SecretBytes content;
  mode_t mode = 0600;  // exactly, whatever the umask; set before the content is
};

// A path that is a symbolic link stays one: the file that it leads to is replaced.
Result<void> write_files(const std::vector<FileContent>& files);

// Temporary files of that path, which a process that was killed left behind.
void remove_leftovers(const std::string& path);

}  // namespace steeple::helper
