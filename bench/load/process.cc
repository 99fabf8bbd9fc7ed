// SPDX-License-Identifier: Apache-2.0

#include "bench/load/process.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "lib/io/directory.h"

namespace steeple::bench {
namespace {

constexpr std::size_t kProcFileBytesMax = std::size_t{64} << 10;

}  // namespace

double cpu_micros(pid_t pid) {
  double nanoseconds = 0;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    auto text = io::read_file(task.path().string() + "/schedstat", kProcFileBytesMax);
    if (text.ok()) {  // a thread that ended meanwhile is no error
      nanoseconds += std::atof(text->c_str());
    }
  }
  return nanoseconds / 1000;
}

double rss_kib(pid_t pid) {
  Bytes status = io::read_file(fmt::format("/proc/{}/status", pid), kProcFileBytesMax).take();
  std::size_t at = status.find("VmRSS:");
  return at == Bytes::npos ? 0 : std::atof(status.c_str() + at + 6);
}

}  // namespace steeple::bench
