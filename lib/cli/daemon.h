// SPDX-License-Identifier: Apache-2.0

// What every daemon of ours does first: no core dumps or ptrace that could show keys, no privileges
// gained through exec, none kept that it does not need, no system calls that it never makes, files
// not readable by others, as many of them open as the system allows. Says what the platform did not
// allow. And what it does once it serves: give back the memory that only its start needed.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/io/loop.h"

namespace steeple::cli {

// silence_protobuf, raise_file_limit, umask at least 0027, not dumpable, no-new-privs, no
// capabilities but those of every daemon (daemon.cc says why each) and `capabilities` (CAP_*), the
// system call filter of privileges.h. The texts name what could not be done. Call before threads
// start: what they inherit is decided here.
std::vector<std::string> harden_process(std::span<const int> capabilities);

// The soft limit of open files becomes the hard one. Services start with a soft limit of 1,024 for
// the sake of programs that use select(2), which ours do not; it would be a thousand connections.
Result<void> raise_file_limit();

// protobuf writes a line to standard error for each text of a message that is not UTF-8, so that
// any client could fill our log; from here on it does not. The caller is told all the same.
void silence_protobuf();

// Program pages that only start-up ran and heap that it has freed no longer count as ours. What is
// needed again comes back from the page cache, at a minor fault each. Now, and once more when the
// daemon has made its first calls to others, which loads libraries. On the loop, or before it runs.
inline constexpr auto kSettledAfter = std::chrono::seconds(10);
void give_back_start_memory(io::Loop& loop);

}  // namespace steeple::cli
