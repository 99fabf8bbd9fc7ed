// SPDX-License-Identifier: Apache-2.0

#include "agent/peer/peer_process.h"

#include <fmt/format.h>
#include <poll.h>

#include <cerrno>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

namespace steeple::agent {
namespace {

constexpr int kStartTimeField = 22;  // proc(5)

Error unauthenticated(std::string message) { return {Code::kUnauthenticated, std::move(message)}; }

Result<void> pidfd_alive(int pidfd) {
  pollfd waiting{pidfd, POLLIN, 0};
  int ready = ::poll(&waiting, 1, 0);
  while (ready < 0 && errno == EINTR) {
    ready = ::poll(&waiting, 1, 0);
  }
  if (ready == 0) {
    return {};
  }
  return unauthenticated(ready > 0 ? "caller has exited"
                                   : "caller exit suspected: " + errno_text(errno));
}

// The words of a line, between tabs and spaces.
std::string_view next_word(std::string_view& line) {
  constexpr std::string_view kBlank = " \t";
  auto begin = line.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) {
    line = {};
    return {};
  }
  line.remove_prefix(begin);
  auto end = std::min(line.find_first_of(kBlank), line.size());
  auto word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

std::optional<std::uint32_t> parse_id(std::string_view word) {
  std::uint32_t id = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
  if (word.empty() || error != std::errc() || end != word.data() + word.size()) {
    return std::nullopt;
  }
  return id;
}

// "Uid: real effective saved filesystem"
std::optional<std::uint32_t> effective_id(std::string_view line) {
  next_word(line);
  return parse_id(next_word(line));
}

// What follows "<key>:" on its line; the kernel writes each key once. Looked for at line starts
// only: the process chooses its own Name, but the kernel escapes line feeds in it.
std::optional<std::string_view> line_of(std::string_view status, std::string_view key) {
  while (!status.empty()) {
    auto end = std::min(status.find('\n'), status.size());
    auto line = status.substr(0, end);
    if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      return line.substr(key.size() + 1);
    }
    status.remove_prefix(std::min(end + 1, status.size()));
  }
  return std::nullopt;
}

}  // namespace

Result<std::shared_ptr<const WorkloadProcess>> WorkloadProcess::of_peer(
    std::shared_ptr<const io::Peer> peer, ProcFs& proc_fs) {
  if (!peer || !peer->process || peer->process->pid <= 0) {
    return unauthenticated("could not resolve caller information");
  }
  auto handle = std::make_shared<const WorkloadProcess>(Private{}, std::move(peer), proc_fs);
  TRY(handle->alive());
  return handle;
}

Result<std::shared_ptr<const WorkloadProcess>> WorkloadProcess::of_pid(pid_t pid, ProcFs& proc_fs) {
  if (pid <= 0) {
    return invalid_argument(fmt::format("{} is not a process id", pid));
  }
  auto peer = std::make_shared<io::Peer>();
  io::PeerProcess& process = peer->process.emplace();
  process.pid = pid;
  auto pidfd = proc_fs.open_pidfd(pid);
  if (pidfd.ok()) {
    process.pidfd = std::move(pidfd).take();
  } else if (pidfd.error().code == Code::kUnimplemented) {
    Bytes stat = TRY(proc_fs.read(pid, "stat"));
    process.start_time = TRY(parse_start_time(stat));
    Bytes status = TRY(proc_fs.read(pid, "status"));
    auto ids = TRY(parse_process_ids(status));
    process.uid = ids.uid;
    process.gid = ids.gid;
  } else {
    return std::move(pidfd).error();
  }
  return of_peer(std::move(peer), proc_fs);
}

Result<void> WorkloadProcess::alive() const {
  return process().pidfd.valid() ? pidfd_alive(process().pidfd.get()) : same_start();
}

// Without a pidfd. The ids are compared, too, as the reference does: should the pid have been
// reused between connect(2) and accept, then at least by the same user.
Result<void> WorkloadProcess::same_start() const {
  auto stat = proc_fs_.read(pid(), "stat");
  if (!stat.ok()) {
    return unauthenticated("caller exit suspected due to failure to get starttime: " +
                           stat.error().message);
  }
  auto start = parse_start_time(*stat);
  if (!start.ok()) {
    return unauthenticated("caller exit suspected due to failure to get starttime: " +
                           start.error().message);
  }
  if (*start != process().start_time) {
    return unauthenticated(
        fmt::format("new process detected: process starttime {} does not match original caller {}",
                    *start, process().start_time));
  }
  auto status = proc_fs_.read(pid(), "status");
  auto ids = status.ok() ? parse_process_ids(*status) : Result<ProcessIds>(status.error());
  if (!ids.ok()) {
    return unauthenticated("caller exit suspected due to failed proc status: " +
                           ids.error().message);
  }
  if (ids->uid != process().uid) {
    return unauthenticated(
        fmt::format("new process detected: process uid {} does not match original caller {}",
                    ids->uid, process().uid));
  }
  if (ids->gid != process().gid) {
    return unauthenticated(
        fmt::format("new process detected: process gid {} does not match original caller {}",
                    ids->gid, process().gid));
  }
  return {};
}

Result<std::uint64_t> parse_start_time(ByteView stat) {
  // Field 2 is the command in parentheses and may hold anything, so count from its end.
  auto close = stat.rfind(')');
  if (stat.find('(') == ByteView::npos || close == ByteView::npos) {
    return invalid_argument("bad stat data: task name is not parenthesized");
  }
  auto rest = stat.substr(close + 1);
  for (int field = 3; field < kStartTimeField; ++field) {
    if (next_word(rest).empty()) {
      return invalid_argument("bad stat data or unsupported platform");
    }
  }
  auto word = next_word(rest);
  std::uint64_t ticks = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), ticks);
  if (word.empty() || error != std::errc() || end != word.data() + word.size()) {
    return invalid_argument("bad stat data or unsupported platform");
  }
  return ticks;
}

Result<ProcessIds> parse_process_ids(ByteView status) {
  ProcessIds ids;
  auto uids = line_of(status, "Uid");
  auto uid = uids ? effective_id(*uids) : std::nullopt;
  if (!uid) {
    return internal("UIDs lookup: no UIDs for process");
  }
  auto gids = line_of(status, "Gid");
  auto gid = gids ? effective_id(*gids) : std::nullopt;
  if (!gid) {
    return internal("GIDs lookup: no GIDs for process");
  }
  ids.uid = *uid;
  ids.gid = *gid;
  // A kernel without the line has no supplementary groups to tell of.
  auto groups = line_of(status, "Groups").value_or(std::string_view());
  for (auto word = next_word(groups); !word.empty(); word = next_word(groups)) {
    auto group = parse_id(word);
    if (!group) {
      return internal(fmt::format("supplementary GIDs lookup: \"{}\" is not a group id", word));
    }
    ids.groups.push_back(*group);
  }
  return ids;
}

}  // namespace steeple::agent
