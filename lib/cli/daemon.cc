// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/daemon.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <link.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lib/base/error.h"
#include "lib/cli/privileges.h"

namespace steeple::cli {
namespace {

// Of those that the process has at all (root, or given to an ordinary user by the service manager):
//   NET_BIND_SERVICE  bind_port and the listeners may be below 1024
//   DAC_OVERRIDE      data folders and sockets that another user owns, as a deployment leaves them
//                     that ran as that user before; root's own files need no capability anyway
constexpr std::array kEveryDaemon = {CAP_NET_BIND_SERVICE, CAP_DAC_OVERRIDE};

// Code segments only: they are mapped read-only from their files and never written (there are no
// text relocations), so that dropping the mapping of a page loses nothing.
int drop_code_pages(dl_phdr_info* object, std::size_t, void*) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0 ||
        (segment.p_flags & PF_W) != 0) {
      continue;
    }
    // The last page may hold the begin of the next segment in the file, which is mapped apart.
    std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) / page * page;
    std::uintptr_t end = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
    // Refused for the kernel's own mapping, which costs us nothing.
    static_cast<void>(::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED));
  }
  return 0;
}

}  // namespace

void give_back_start_memory(io::Loop& loop) {
  auto give_back = [] {
    ::malloc_trim(0);
    ::dl_iterate_phdr(drop_code_pages, nullptr);
  };
  give_back();
  loop.start_timer(kSettledAfter, give_back);
}

std::vector<std::string> harden_process(std::span<const int> capabilities) {
  constexpr mode_t kUmaskLeast = 0027;
  std::vector<std::string> failed;
  silence_protobuf();
  if (auto raised = raise_file_limit(); !raised.ok()) {
    failed.push_back(raised.error().message);
  }
  ::umask(::umask(kUmaskLeast) | kUmaskLeast);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    failed.push_back(fmt::format("cannot forbid core dumps: {}", errno_text(errno)));
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    failed.push_back(fmt::format("cannot forbid new privileges: {}", errno_text(errno)));
  }
  std::vector<int> keep(kEveryDaemon.begin(), kEveryDaemon.end());
  keep.insert(keep.end(), capabilities.begin(), capabilities.end());
  if (auto dropped = keep_capabilities(keep); !dropped.ok()) {
    failed.push_back(fmt::format("cannot drop capabilities: {}", dropped.error().message));
  }
  if (auto filtered = forbid_system_calls(); !filtered.ok()) {
    failed.push_back(fmt::format("cannot filter system calls: {}", filtered.error().message));
  }
  return failed;
}

void silence_protobuf() { google::protobuf::SetLogHandler(nullptr); }

Result<void> raise_file_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) {
    return errno_error(errno, "read the limit of open files");
  }
  files.rlim_cur = files.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) {
    return errno_error(errno, "raise the limit of open files");
  }
  return {};
}

}  // namespace steeple::cli
