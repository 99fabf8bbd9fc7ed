// SPDX-License-Identifier: Apache-2.0

#include "helper/process/child.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>

#include "lib/io/directory.h"

namespace steeple::helper {
namespace {

constexpr std::size_t kPidFileBytesMax = 4096;

struct Attributes {
  Attributes() { ::posix_spawnattr_init(&value); }
  ~Attributes() { ::posix_spawnattr_destroy(&value); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  posix_spawnattr_t value;
};

std::string describe(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) {
    return fmt::format("exited with code {}", info.si_status);
  }
  const char* name = ::sigabbrev_np(info.si_status);
  return fmt::format("was ended by signal SIG{}", name != nullptr ? name : "?");
}

}  // namespace

Child::Child(io::AsioLoop& loop, std::string program, std::vector<std::string> arguments,
             OnExit on_exit)
    : loop_(loop),
      program_(std::move(program)),
      arguments_(std::move(arguments)),
      on_exit_(std::move(on_exit)) {}

Child::~Child() = default;

Result<void> Child::start() {
  CHECK(!running());
  // What we ignore (SIGPIPE) or block would otherwise be so in the child.
  Attributes attributes;
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes.value, &none);
  ::posix_spawnattr_setsigdefault(&attributes.value, &all);
  ::posix_spawnattr_setflags(&attributes.value, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string program = program_;
  std::vector<std::string> arguments = arguments_;
  std::vector<char*> argv = {program.data()};
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  pid_t pid = 0;
  int failed =
      ::posix_spawnp(&pid, program.c_str(), nullptr, &attributes.value, argv.data(), environ);
  if (failed != 0) {
    return errno_error(failed, fmt::format("error executing process \"{}\"", program_));
  }
  // The pid is the child's until we take its exit status.
  io::FileDescriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    int number = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return errno_error(number, "pidfd_open");
  }
  pid_ = pid;
  pidfd_ = std::move(pidfd);
  watch_ = loop_.watch(pidfd_.get());
  watch_->on_ready([this](bool, bool) { exited(); });
  watch_->interest(true, false);
  return {};
}

void Child::exited() {
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) {
    return;
  }
  pid_t pid = std::exchange(pid_, 0);
  watch_.reset();
  pidfd_.reset();
  on_exit_(pid, describe(info));
}

Result<void> Child::signal(int number) {
  if (!running() || number == 0) {
    return {};
  }
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) != 0) {
    return errno_error(errno, fmt::format("error signaling process with signal num {}", number));
  }
  return {};
}

void reap_orphans(pid_t child) {
  while (true) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0 ||
        info.si_pid == child) {
      return;  // the child's own end is its pidfd's matter
    }
    ::waitpid(info.si_pid, nullptr, WNOHANG);
  }
}

Result<pid_t> signal_pid_file(const std::string& path, int number) {
  std::string what = fmt::format("failed to read pid file \"{}\"", path);
  std::string text = TRY(io::read_file(path, kPidFileBytesMax).during(what));
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  std::size_t from = std::min(text.find_first_not_of(kSpace), text.size());
  std::size_t to = text.find_last_not_of(kSpace);
  std::string_view digits =
      from < text.size() ? std::string_view(text).substr(from, to - from + 1) : std::string_view();
  pid_t pid = 0;
  auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  // 0 and below would name groups of processes, or all of them.
  if (problem != std::errc() || end != digits.data() + digits.size() || pid <= 0) {
    return invalid_argument(
        fmt::format("failed to parse pid file \"{}\": \"{}\" is not a pid", path, digits));
  }
  if (::kill(pid, number) != 0) {
    return errno_error(errno, fmt::format("error signaling process with signal num {}", number));
  }
  return pid;
}

}  // namespace steeple::helper
