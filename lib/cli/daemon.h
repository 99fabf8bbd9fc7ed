// SPDX-License-Identifier: Apache-2.0

// What every daemon of ours does first: no core dumps or ptrace that could show keys, no privileges
// gained through exec, files not readable by others. Says what the platform did not allow.

#pragma once

#include <string>
#include <vector>

namespace steeple::cli {

// umask at least 0027, not dumpable, no-new-privs. The texts name what could not be done. Call
// before threads start.
std::vector<std::string> harden_process();

}  // namespace steeple::cli
