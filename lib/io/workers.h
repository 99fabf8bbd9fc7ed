// SPDX-License-Identifier: Apache-2.0

// A bounded pool for work that blocks or computes: SQL, signing, files, attestation. Results go
// back to a loop with `Loop::post`. The simulated twin runs tasks on the simulated loop, each
// after a delay that the seed chooses.

#pragma once

#include "lib/base/result.h"
#include "lib/io/loop.h"

namespace steeple::io {

class Workers {
 public:
  virtual ~Workers() = default;
  // Any thread. kResourceExhausted when the queue is full: the task is then destroyed unrun.
  virtual Result<void> submit(Task task) = 0;
};

}  // namespace steeple::io
