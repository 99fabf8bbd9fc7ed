// SPDX-License-Identifier: Apache-2.0

#include "lib/io/peer_process.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>

#include "lib/io/directory.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace steeple::io {
namespace {

constexpr std::size_t kStatBytesMax = 4096;
constexpr int kStartTimeField = 22;

}  // namespace

Result<PeerProcess> peer_process(int fd) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return errno_error(errno, "SO_PEERCRED");
  }
  if (credentials.pid <= 0) {
    return permission_denied("the peer's process is not visible in this pid namespace");
  }
  PeerProcess process;
  process.pid = credentials.pid;
  process.uid = credentials.uid;
  process.gid = credentials.gid;
  int pidfd = -1;
  length = sizeof pidfd;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) {
    process.pidfd = FileDescriptor(pidfd);
    return process;
  }
  if (errno != ENOPROTOOPT) {
    return errno_error(errno, "SO_PEERPIDFD");
  }
  process.start_time = TRY(process_start_time(process.pid));
  return process;
}

Result<PeerProcess> peer_account(int fd) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return errno_error(errno, "SO_PEERCRED");
  }
  PeerProcess process;
  process.uid = credentials.uid;
  process.gid = credentials.gid;
  return process;
}

Result<std::uint64_t> process_start_time(pid_t pid) {
  Bytes stat = TRY(read_file(fmt::format("/proc/{}/stat", pid), kStatBytesMax));
  // The second field is the command in parentheses and may hold anything, so count from its end.
  std::size_t at = stat.rfind(')');
  for (int field = 2; at != Bytes::npos && field < kStartTimeField; ++field) {
    at = stat.find(' ', at + 1);
  }
  std::uint64_t ticks = 0;
  if (at == Bytes::npos ||
      std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), ticks).ec != std::errc()) {
    return internal(fmt::format("malformed /proc/{}/stat", pid));
  }
  return ticks;
}

bool is_alive(const PeerProcess& process) {
  if (process.pidfd.valid()) {
    pollfd poll_for{process.pidfd.get(), POLLIN, 0};
    return ::poll(&poll_for, 1, 0) == 0;
  }
  Result<std::uint64_t> start = process_start_time(process.pid);
  return start.ok() && *start == process.start_time;
}

}  // namespace steeple::io
