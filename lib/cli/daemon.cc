// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/daemon.h"

#include <fmt/format.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/error.h"

namespace steeple::cli {
namespace {

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

void give_back_start_memory() {
  ::malloc_trim(0);
  ::dl_iterate_phdr(drop_code_pages, nullptr);
}

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
