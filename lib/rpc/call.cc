// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/call.h"

namespace steeple::rpc {

std::vector<std::string> CallContext::values(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : metadata) {
    if (key == name) {
      out.push_back(value);
    }
  }
  return out;
}

}  // namespace steeple::rpc
