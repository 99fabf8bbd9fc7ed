// SPDX-License-Identifier: Apache-2.0

#include "agent/peer/proc_fs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace steeple::agent {
namespace {

// The status of a process fits, so that one read and its end suffice.
constexpr std::size_t kReadBytes = 4096;
constexpr std::size_t kLinkBytesMax = 4096;  // PATH_MAX

// A process that goes away while we read answers ESRCH instead of ENOENT.
Error proc_error(int number, const char* doing, const std::string& path) {
  Error error = errno_error(number, fmt::format("{} {}", doing, path));
  if (number == ESRCH) {
    error.code = Code::kNotFound;
  }
  return error;
}

class RealProcFs final : public ProcFs {
 public:
  explicit RealProcFs(std::string root) : root_(std::move(root)) {}

  Result<Bytes> read(pid_t pid, const char* name) override {
    io::FileDescriptor file = TRY(open(pid, name));
    Bytes content;
    std::array<char, kReadBytes> buffer;
    while (true) {
      ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
      if (got == 0) {
        return content;
      }
      if (got < 0) {
        if (errno == EINTR) {
          continue;
        }
        return proc_error(errno, "read", path(pid, name));
      }
      if (content.size() + static_cast<std::size_t>(got) > kProcFileBytesMax) {
        return resource_exhausted(
            fmt::format("{} is larger than {} bytes", path(pid, name), kProcFileBytesMax));
      }
      content.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }

  Result<std::string> read_link(pid_t pid, const char* name) override {
    std::string at = path(pid, name);
    std::array<char, kLinkBytesMax> buffer;
    ssize_t got = ::readlink(at.c_str(), buffer.data(), buffer.size());
    if (got < 0) {
      return proc_error(errno, "readlink", at);
    }
    if (static_cast<std::size_t>(got) == buffer.size()) {
      return resource_exhausted(fmt::format("{} points to a path that is too long", at));
    }
    return std::string(buffer.data(), static_cast<std::size_t>(got));
  }

  Result<io::FileDescriptor> open(pid_t pid, const char* name) override {
    std::string at = path(pid, name);
    io::FileDescriptor file(::open(at.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file.valid()) {
      return proc_error(errno, "open", at);
    }
    return file;
  }

  Result<io::FileDescriptor> open_pidfd(pid_t pid) override {
    io::FileDescriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd.valid()) {
      if (errno == ENOSYS) {
        return unimplemented("this kernel has no pidfd_open");
      }
      return proc_error(errno, "pidfd_open", std::to_string(pid));
    }
    return pidfd;
  }

  std::string path(pid_t pid, const char* name) const override {
    return fmt::format("{}/{}/{}", root_, pid, name);
  }

 private:
  const std::string root_;
};

}  // namespace

std::unique_ptr<ProcFs> real_proc_fs(std::string root) {
  return std::make_unique<RealProcFs>(std::move(root));
}

}  // namespace steeple::agent
