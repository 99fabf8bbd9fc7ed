// SPDX-License-Identifier: Apache-2.0

// A fuzz target may define this beside LLVMFuzzerTestOneInput: valid inputs to begin with, so that
// mutation starts behind the first checks. Called once, by the fuzz driver (tests/fuzz).

#pragma once

#include <string>
#include <vector>

namespace steeple {

std::vector<std::string> fuzz_seeds();

}  // namespace steeple
