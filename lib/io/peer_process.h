// SPDX-License-Identifier: Apache-2.0

// Who is at the other end of a Unix socket, as the kernel recorded it. Any thread.

#pragma once

#include "lib/base/result.h"
#include "lib/io/connection.h"

namespace steeple::io {

// SO_PEERCRED, and SO_PEERPIDFD (Linux 6.5) to pin the process; where that is missing, its start
// time. A peer without a pid (foreign pid namespace) is an error: fail closed.
Result<PeerProcess> peer_process(int fd);
// Uid and gid alone (pid 0, never alive), for services that do not ask which process calls.
Result<PeerProcess> peer_account(int fd);

// Field 22 of /proc/<pid>/stat, clock ticks since boot.
Result<std::uint64_t> process_start_time(pid_t pid);

// Whether the process that connected still runs, and its pid therefore still means it. With a
// pidfd no race is left; without one the start time is compared.
bool is_alive(const PeerProcess& process);

}  // namespace steeple::io
