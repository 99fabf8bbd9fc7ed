// SPDX-License-Identifier: Apache-2.0

// Tells at once when the socket directory is made, deleted or moved (inotify on its parent folder).
// Inside a container nothing of that can be seen, so it only hastens what the driver does anyway
// every few seconds. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/base/result.h"
#include "lib/io/asio_loop.h"
#include "lib/io/file_descriptor.h"

namespace steeple::csi {

class SourceWatch {
 public:
  static Result<std::unique_ptr<SourceWatch>> make(io::AsioLoop& loop, const std::string& directory,
                                                   std::function<void()> on_change);
  SourceWatch(io::AsioLoop& loop, io::FileDescriptor inotify, std::string name,
              std::function<void()> on_change);

 private:
  void drain();

  const io::FileDescriptor inotify_;
  const std::string name_;
  const std::function<void()> on_change_;
  std::unique_ptr<io::FdWatch> watch_;
};

}  // namespace steeple::csi
