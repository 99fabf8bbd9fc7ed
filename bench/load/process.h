// SPDX-License-Identifier: Apache-2.0

// What the kernel tells of another process: CPU time and memory, from /proc.

#pragma once

#include <sys/types.h>

namespace steeple::bench {

// CPU time on all threads that live, in microseconds: the sum of /proc/<pid>/task/*/schedstat,
// which counts nanoseconds where utime and stime count ticks of 10 ms.
double cpu_micros(pid_t pid);
// Resident memory in KiB: VmRSS of /proc/<pid>/status.
double rss_kib(pid_t pid);

}  // namespace steeple::bench
