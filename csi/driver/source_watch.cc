// SPDX-License-Identifier: Apache-2.0

#include "csi/driver/source_watch.h"

#include <sys/inotify.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace steeple::csi {
namespace {

constexpr std::uint32_t kEvents =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_UNMOUNT | IN_ONLYDIR;
constexpr std::size_t kReadBytes = std::size_t{16} << 10;

}  // namespace

Result<std::unique_ptr<SourceWatch>> SourceWatch::make(io::AsioLoop& loop,
                                                       const std::string& directory,
                                                       std::function<void()> on_change) {
  std::string path = directory;
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  std::size_t slash = path.rfind('/');
  std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  io::FileDescriptor inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify.valid()) {
    return errno_error(errno, "inotify");
  }
  if (::inotify_add_watch(inotify.get(), parent.c_str(), kEvents) < 0) {
    return errno_error(errno, "watch " + parent);
  }
  return std::make_unique<SourceWatch>(loop, std::move(inotify),
                                       slash == std::string::npos ? path : path.substr(slash + 1),
                                       std::move(on_change));
}

SourceWatch::SourceWatch(io::AsioLoop& loop, io::FileDescriptor inotify, std::string name,
                         std::function<void()> on_change)
    : inotify_(std::move(inotify)),
      name_(std::move(name)),
      on_change_(std::move(on_change)),
      watch_(loop.watch(inotify_.get())) {
  watch_->on_ready([this](bool, bool) { drain(); });
  watch_->interest(true, false);
}

void SourceWatch::drain() {
  alignas(inotify_event) std::array<char, kReadBytes> buffer;
  bool concerned = false;
  while (true) {
    ssize_t got = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (got <= 0) {
      break;
    }
    for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(got);) {
      inotify_event event;
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* name = buffer.data() + at + sizeof event;
      // Without a name it concerns the folder as a whole, or events were lost.
      concerned = concerned || event.len == 0 || name_ == name;
      at += sizeof event + event.len;
    }
  }
  if (concerned) {
    on_change_();
  }
}

}  // namespace steeple::csi
