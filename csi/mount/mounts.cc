// SPDX-License-Identifier: Apache-2.0

#include "csi/mount/mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "lib/io/directory.h"

namespace steeple::csi {
namespace {

class KernelMounts final : public Mounts {
 public:
  explicit KernelMounts(std::string table) : table_(std::move(table)) {}

  Result<std::vector<Mount>> list() override {
    Bytes text = TRY(io::read_file(table_, kMountInfoBytesMax).during("unable to open mount info"));
    return parse_mountinfo(text).during("failed to scan mount info");
  }

  Result<void> bind(const std::string& source, const std::string& target) override {
    if (::mount(source.c_str(), target.c_str(), "none", MS_BIND, "") != 0) {
      return internal(errno_text(errno));
    }
    return {};
  }

  Result<void> unmount(const std::string& target, Unmount how) override {
    int flags = UMOUNT_NOFOLLOW | (how == Unmount::kLazy ? MNT_DETACH : 0);
    if (::umount2(target.c_str(), flags) != 0) {
      return internal(errno_text(errno));
    }
    return {};
  }

  Result<DirectoryIdentity> identify(const std::string& path) override {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) {
      return errno_error(errno, "stat " + path);
    }
    if (!S_ISDIR(info.st_mode)) {
      return failed_precondition(path + " is not a directory");
    }
    return DirectoryIdentity{info.st_dev, info.st_ino, info.st_nlink == 0};
  }

 private:
  const std::string table_;
};

}  // namespace

std::unique_ptr<Mounts> kernel_mounts(std::string table) {
  return std::make_unique<KernelMounts>(std::move(table));
}

std::size_t layers_at(const std::vector<Mount>& mounts, const std::string& mount_point) {
  return static_cast<std::size_t>(
      std::count_if(mounts.begin(), mounts.end(),
                    [&](const Mount& mount) { return mount.mount_point == mount_point; }));
}

}  // namespace steeple::csi
