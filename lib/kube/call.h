// SPDX-License-Identifier: Apache-2.0

// A request under way, of a Transport or of a Client. Destroying it cancels it, and no callback of
// it runs afterwards; that is also allowed from inside one of its callbacks. On the loop.

#pragma once

#include <memory>

namespace steeple::kube {

class Call {
 public:
  virtual ~Call() = default;
};

using CallPtr = std::unique_ptr<Call>;

}  // namespace steeple::kube
