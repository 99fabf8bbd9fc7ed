// SPDX-License-Identifier: Apache-2.0

#include "csi/driver/volumes.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "lib/io/directory.h"

namespace steeple::csi {
namespace {

constexpr mode_t kTargetMode = 0750;
constexpr std::size_t kVolumeDataBytesMax = std::size_t{64} << 10;
// A volume has one mount, or two once it was mended; more are somebody else's doing.
constexpr std::size_t kLayersMax = 64;
// kubelet: <root>/pods/<uid>/volumes/kubernetes.io~csi/<volume>/mount, vol_data.json beside it.
constexpr std::string_view kKubeletFolder = "/volumes/kubernetes.io~csi/";
constexpr std::string_view kKubeletMount = "/mount";

// Go's %q for a path.
std::string quoted(const std::string& text) { return fmt::format("\"{}\"", text); }

Result<void> list_directory(const std::string& path) {
  struct Closer {
    void operator()(DIR* open) const { ::closedir(open); }
  };
  std::unique_ptr<DIR, Closer> open(::opendir(path.c_str()));
  if (!open) {
    return errno_error(errno, "open " + path);
  }
  errno = 0;
  while (::readdir(open.get()) != nullptr) {
  }
  if (errno != 0) {
    return errno_error(errno, "readdirent " + path);
  }
  return {};
}

}  // namespace

Result<bool> Volumes::publish(const std::string& target) {
  if (::mkdir(target.c_str(), kTargetMode) != 0 && errno != EEXIST) {
    return internal(fmt::format("unable to create target path {}: {}", quoted(target),
                                errno_error(errno, "mkdir " + target).message));
  }
  Result<std::vector<Mount>> mounts = mounts_.list();
  if (!mounts.ok()) {
    return internal(
        fmt::format("unable to verify mount point {}: {}", quoted(target), mounts.error().message));
  }
  if (layers_at(*mounts, target) > 0) {
    made_here_.insert(target);
    return true;
  }
  // Writable, so that the host may relabel it; read-only is what the kubelet makes it for the
  // containers, because the request had to say so.
  Result<void> bound = mounts_.bind(options_.source, target);
  if (!bound.ok()) {
    return internal(fmt::format("unable to mount {}: {}", quoted(target), bound.error().message));
  }
  made_here_.insert(target);
  bare_.erase(target);
  return false;
}

Result<void> Volumes::unpublish(const std::string& target) {
  for (std::size_t round = 0;; ++round) {
    Result<std::vector<Mount>> mounts = mounts_.list();
    if (!mounts.ok()) {
      return internal(fmt::format("unable to verify mount point {}: {}", quoted(target),
                                  mounts.error().message));
    }
    std::size_t layers = layers_at(*mounts, target);
    if (layers == 0) {
      break;
    }
    // What was laid on top when the volume was mended goes without asking; the volume itself only
    // when nobody uses it.
    Result<void> gone = round < kLayersMax
                            ? mounts_.unmount(target, layers > 1 ? Unmount::kLazy : Unmount::kNow)
                            : Result<void>(internal("too many mounts"));
    if (!gone.ok()) {
      return internal(
          fmt::format("unable to unmount {}: {}", quoted(target), gone.error().message));
    }
  }
  // As Go's os.Remove does: a file or an empty directory.
  if (::unlink(target.c_str()) != 0 && ::rmdir(target.c_str()) != 0 && errno != ENOENT) {
    return internal(fmt::format("unable to remove target path {}: {}", quoted(target),
                                errno_error(errno, "remove " + target).message));
  }
  made_here_.erase(target);
  bare_.erase(target);
  return {};
}

Result<Volumes::Condition> Volumes::condition(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
    return not_found(fmt::format("volume path {} does not exist", quoted(path)));
  }
  auto abnormal = [](std::string why) { return Condition{true, std::move(why)}; };
  Result<std::vector<Mount>> mounts = mounts_.list();
  if (!mounts.ok()) {
    return abnormal("failed to determine root for volume path mount: " + mounts.error().message);
  }
  if (layers_at(*mounts, path) == 0) {
    return abnormal("volume path is not mounted");
  }
  if (auto listed = list_directory(path); !listed.ok()) {
    return abnormal("unable to list contents of volume path: " + listed.error().message);
  }
  Result<DirectoryIdentity> shown = mounts_.identify(path);
  Result<DirectoryIdentity> source = mounts_.identify(options_.source);
  if (!shown.ok()) {
    return abnormal("unable to tell what the volume shows: " + shown.error().message);
  }
  if (shown->deleted) {
    return abnormal("the volume shows a directory that has been deleted");
  }
  if (!source.ok()) {
    return abnormal("the Workload API socket directory is missing: " + source.error().message);
  }
  if (!shown->same_as(*source)) {
    return abnormal("the volume shows another directory than the Workload API socket directory");
  }
  return Condition{};
}

bool Volumes::kubelet_says_ours(const std::string& mount_point) const {
  std::size_t folder = mount_point.rfind(kKubeletFolder);
  if (folder == std::string::npos || !mount_point.ends_with(kKubeletMount)) {
    return false;
  }
  std::string volume = mount_point.substr(0, mount_point.size() - kKubeletMount.size());
  if (volume.find('/', folder + kKubeletFolder.size()) != std::string::npos) {
    return false;
  }
  Result<Bytes> data = io::read_file(volume + "/vol_data.json", kVolumeDataBytesMax);
  return data.ok() && driver_of_volume_data(*data) == options_.driver;
}

std::set<std::string> Volumes::published(const std::vector<Mount>& mounts) const {
  std::set<std::string> out;
  for (const Mount& mount : mounts) {
    if (made_here_.contains(mount.mount_point) || kubelet_says_ours(mount.mount_point)) {
      out.insert(mount.mount_point);
    }
  }
  return out;
}

Result<void> Volumes::mend_one(const std::string& target, std::size_t layers) {
  // It was mended before: that layer is as dead as the first and makes room for the new one.
  for (; layers > 1; --layers) {
    TRY(mounts_.unmount(target, Unmount::kLazy).during("unmount"));
  }
  if (mounts_.bind(options_.source, target).ok()) {
    return {};
  }
  // Nothing can be mounted on a directory that was deleted.
  if (layers > 0) {
    TRY(mounts_.unmount(target, Unmount::kLazy).during("unmount"));
    bare_.insert(target);
  }
  return mounts_.bind(options_.source, target).during("mount");
}

Result<Volumes::Health> Volumes::mend() {
  Health health;
  std::vector<Mount> mounts = TRY(mounts_.list());
  std::set<std::string> ours = published(mounts);
  ours.insert(bare_.begin(), bare_.end());
  health.volumes = ours.size();
  Result<DirectoryIdentity> source = mounts_.identify(options_.source);
  health.source_missing = !source.ok();
  health.source_deleted = source.ok() && source->deleted;
  if (!health.source_ok()) {
    return health;  // nothing better to show
  }
  for (const std::string& target : ours) {
    Result<DirectoryIdentity> shown = mounts_.identify(target);
    if (shown.ok() && shown->same_as(*source)) {
      bare_.erase(target);
      continue;
    }
    if (auto mended = mend_one(target, layers_at(mounts, target)); mended.ok()) {
      ++health.mended;
      bare_.erase(target);
      LOG_INFO(log_, "Volume shows the Workload API socket directory again",
               {"targetPath", target});
    } else {
      ++health.failed;
      LOG_ERROR(log_, "Failed to mend volume", {"targetPath", target}, {"error", mended.error()});
    }
  }
  return health;
}

}  // namespace steeple::csi
