// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/container.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace steeple::agent {
namespace {

constexpr std::size_t kContainerIdDigits = 64;
constexpr std::string_view kPod = "pod";
constexpr std::size_t kUidBytes = 36;
constexpr std::array<std::size_t, 4> kUidDashes = {8, 13, 18, 23};

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
// Between a character of a word and one that is none, or the end.
bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin == 0 || !is_word(text[begin - 1])) && (end == text.size() || !is_word(text[end]));
}

// Where the first container ID begins.
std::optional<std::size_t> find_id(std::string_view segment) {
  for (std::size_t begin = 0; begin + kContainerIdDigits <= segment.size(); ++begin) {
    std::size_t end = begin + kContainerIdDigits;
    if (stands_alone(segment, begin, end) &&
        std::ranges::all_of(segment.substr(begin, kContainerIdDigits), is_hex)) {
      return begin;
    }
  }
  return std::nullopt;
}

bool is_uid(std::string_view text) {
  for (std::size_t i = 0; i < kUidBytes; ++i) {
    bool dash = std::ranges::find(kUidDashes, i) != kUidDashes.end();
    if (dash ? text[i] != '-' && text[i] != '_' : !is_hex(text[i])) {
      return false;
    }
  }
  return true;
}

std::string find_pod(std::string_view segment) {
  for (std::size_t at = segment.find(kPod); at != std::string_view::npos;
       at = segment.find(kPod, at + 1)) {
    std::size_t end = at + kPod.size() + kUidBytes;
    if (end <= segment.size() && stands_alone(segment, at, end) &&
        is_uid(segment.substr(at + kPod.size(), kUidBytes))) {
      std::string uid(segment.substr(at + kPod.size(), kUidBytes));
      std::ranges::replace(uid, '_', '-');
      return uid;
    }
  }
  return {};
}

// Takes the last segment off; empty when nothing is left.
std::string_view pop_segment(std::string_view& path) {
  std::size_t slash = path.rfind('/');
  std::string_view segment = slash == std::string_view::npos ? path : path.substr(slash + 1);
  path = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  return segment;
}

template <class F>
void for_each_line(ByteView text, F&& visit) {
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) {
      visit(text.substr(0, end));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// Joins what several paths say of one process.
class Verdict {
 public:
  Result<void> add(const ContainerRef& next) {
    if (!found_.pod_uid.empty() && next.pod_uid.empty()) {
      return {};  // a unified hierarchy of the runtime around us, say
    }
    if (found_.pod_uid.empty() && !next.pod_uid.empty()) {
      found_ = next;
      return {};
    }
    if (found_.pod_uid != next.pod_uid) {
      return conflict("pod UIDs", found_.pod_uid, next.pod_uid);
    }
    if (!found_.container_id.empty() && found_.container_id != next.container_id) {
      return conflict("container IDs", found_.container_id, next.container_id);
    }
    found_ = next;
    return {};
  }
  ContainerRef take() { return std::move(found_); }

 private:
  static Error conflict(std::string_view what, const std::string& a, const std::string& b) {
    return failed_precondition(fmt::format("multiple {} found (\"{}\", \"{}\")", what, a, b));
  }
  ContainerRef found_;
};

// The n-th field of a line whose fields are separated by single spaces.
std::string_view field(std::string_view line, std::size_t n) {
  for (; n > 0; --n) {
    std::size_t space = line.find(' ');
    if (space == std::string_view::npos) {
      return {};
    }
    line.remove_prefix(space + 1);
  }
  return line.substr(0, line.find(' '));
}

}  // namespace

ContainerRef container_in_path(std::string_view path) {
  ContainerRef out;
  while (!path.empty()) {
    std::string_view segment = pop_segment(path);
    if (out.container_id.empty()) {
      if (auto at = find_id(segment)) {
        out.container_id = segment.substr(*at, kContainerIdDigits);
        segment = segment.substr(0, *at);
      } else {
        continue;
      }
    }
    out.pod_uid = find_pod(segment);
    if (!out.pod_uid.empty()) {
      break;
    }
  }
  return out;
}

Result<ContainerRef> container_in_cgroups(ByteView cgroup) {
  Verdict verdict;
  Result<void> problem;
  for_each_line(cgroup, [&](std::string_view line) {
    std::size_t first = line.find(':');
    std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (!problem.ok()) {
      return;
    }
    if (second == std::string_view::npos) {
      problem = internal("unable to obtain cgroups: cgroup entry contains fewer than 3 fields");
      return;
    }
    problem = verdict.add(container_in_path(line.substr(second + 1)));
  });
  TRY(std::move(problem));
  return verdict.take();
}

Result<ContainerRef> container_in_mounts(ByteView mountinfo) {
  constexpr std::size_t kRootField = 3;
  constexpr std::string_view kSeparator = " - ";
  Verdict verdict;
  Result<void> problem;
  for_each_line(mountinfo, [&](std::string_view line) {
    std::size_t separator = line.find(kSeparator);
    if (!problem.ok() || separator == std::string_view::npos) {
      return;
    }
    std::string_view type = field(line.substr(separator + kSeparator.size()), 0);
    std::string_view root = field(line.substr(0, separator), kRootField);
    // Some containers mount all of /sys/fs/cgroup, which says nothing about themselves.
    if ((type == "cgroup" || type == "cgroup2") && root != "/") {
      problem = verdict.add(container_in_path(root));
    }
  });
  TRY(std::move(problem));
  return verdict.take();
}

Result<ContainerRef> find_container(ByteView cgroup,
                                    const std::function<Result<Bytes>()>& mountinfo) {
  ContainerRef found = TRY(container_in_cgroups(cgroup));
  if (!found.container_id.empty()) {
    return found;
  }
  return container_in_mounts(TRY(mountinfo()));
}

}  // namespace steeple::agent
