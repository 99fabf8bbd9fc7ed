// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/transport.h"

namespace steeple::kube {

std::string_view HttpHead::header(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (header.name == name) {
      return header.value;
    }
  }
  return {};
}

}  // namespace steeple::kube
