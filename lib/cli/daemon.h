// SPDX-License-Identifier: Apache-2.0

// What every daemon of ours does first: no core dumps or ptrace that could show keys, no privileges
// gained through exec, files not readable by others. Says what the platform did not allow. And what
// it does once it serves: give back the memory that only its start needed.

#pragma once

#include <string>
#include <vector>

namespace steeple::cli {

// umask at least 0027, not dumpable, no-new-privs. The texts name what could not be done. Call
// before threads start.
std::vector<std::string> harden_process();

// Program pages that only start-up ran and heap that it has freed no longer count as ours. What is
// needed again comes back from the page cache, at a minor fault each. Any thread.
void give_back_start_memory();

}  // namespace steeple::cli
