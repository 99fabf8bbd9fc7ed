// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/daemon.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <cerrno>

#include "lib/base/error.h"

namespace steeple::cli {

std::vector<std::string> harden_process() {
  constexpr mode_t kUmaskLeast = 0027;
  std::vector<std::string> failed;
  ::umask(::umask(kUmaskLeast) | kUmaskLeast);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    failed.push_back(fmt::format("cannot forbid core dumps: {}", errno_text(errno)));
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    failed.push_back(fmt::format("cannot forbid new privileges: {}", errno_text(errno)));
  }
  return failed;
}

}  // namespace steeple::cli
