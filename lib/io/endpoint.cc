// SPDX-License-Identifier: Apache-2.0

// How endpoints read in logs and errors.

#include "lib/io/network.h"

namespace steeple::io {

std::string Endpoint::text() const {
  if (!unix_path.empty()) {
    return fmt::format("unix://{}", unix_path);
  }
  bool v6 = host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

}  // namespace steeple::io
