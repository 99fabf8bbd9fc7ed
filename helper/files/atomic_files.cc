// SPDX-License-Identifier: Apache-2.0

#include "helper/files/atomic_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

#include "lib/base/random.h"
#include "lib/io/file_descriptor.h"

namespace steeple::helper {
namespace {

constexpr std::size_t kRandomCharacters = 8;
constexpr std::string_view kSuffix = ".tmp";

// A temporary file beside its place, gone again unless it was put there.
class Prepared {
 public:
  Prepared(io::FileDescriptor folder, std::string name, std::string path)
      : folder_(std::move(folder)),
        name_(std::move(name)),
        path_(std::move(path)),
        temporary_(fmt::format(".{}.{}{}", name_, system_random().alphanumeric(kRandomCharacters),
                               kSuffix)) {}
  ~Prepared() {
    if (made_) {
      ::unlinkat(folder_.get(), temporary_.c_str(), 0);
    }
  }
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  Result<void> write(ByteView content, mode_t mode) {
    io::FileDescriptor file(::openat(folder_.get(), temporary_.c_str(),
                                     O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0600U));
    if (!file.valid()) {
      return errno_error(errno, "open " + path_);
    }
    made_ = true;
    if (::fchmod(file.get(), mode) != 0) {
      return errno_error(errno, "chmod " + path_);
    }
    while (!content.empty()) {
      ssize_t put = ::write(file.get(), content.data(), content.size());
      if (put < 0 && errno != EINTR) {
        return errno_error(errno, "write " + path_);
      }
      content.remove_prefix(put > 0 ? static_cast<std::size_t>(put) : 0);
    }
    if (::fsync(file.get()) != 0) {
      return errno_error(errno, "fsync " + path_);
    }
    return {};
  }

  Result<void> put_in_place() {
    if (::renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str()) != 0) {
      return errno_error(errno, "rename " + path_);
    }
    made_ = false;
    return {};
  }

  Result<void> sync_folder() {
    if (::fsync(folder_.get()) != 0) {
      return errno_error(errno, "fsync the folder of " + path_);
    }
    return {};
  }

 private:
  const io::FileDescriptor folder_;
  const std::string name_, path_, temporary_;
  bool made_ = false;
};

// Where a link leads to, also when nothing is there yet; the path itself when it is none.
std::string follow_link(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode)) {
    return path;
  }
  struct Free {
    void operator()(char* text) const { std::free(text); }
  };
  std::unique_ptr<char, Free> real(::realpath(path.c_str(), nullptr));
  return real ? std::string(real.get()) : path;
}

struct Place {
  std::string folder, name;
};

Place place_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? Place{".", path}
                                    : Place{path.substr(0, slash + 1), path.substr(slash + 1)};
}

Result<std::unique_ptr<Prepared>> prepare(const FileContent& file) {
  std::string path = follow_link(file.path);
  auto [folder, name] = place_of(path);
  if (name.empty() || name == "." || name == "..") {
    return invalid_argument(fmt::format("\"{}\" is not a file name", file.path));
  }
  io::FileDescriptor open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!open.valid()) {
    return errno_error(errno, "open " + file.path);
  }
  struct stat info{};
  if (::fstatat(open.get(), name.c_str(), &info, 0) == 0 && S_ISDIR(info.st_mode)) {
    return errno_error(EISDIR, "open " + file.path);
  }
  auto prepared = std::make_unique<Prepared>(std::move(open), std::move(name), file.path);
  TRY(prepared->write(file.content.reveal(), file.mode));
  return prepared;
}

}  // namespace

void remove_leftovers(const std::string& path) {
  struct Closer {
    void operator()(DIR* open) const { ::closedir(open); }
  };
  Place place = place_of(follow_link(path));
  std::unique_ptr<DIR, Closer> open(::opendir(place.folder.c_str()));
  const std::string prefix = "." + place.name + ".";
  while (dirent* entry = open ? ::readdir(open.get()) : nullptr) {
    std::string_view name = entry->d_name;
    if (name.size() == prefix.size() + kRandomCharacters + kSuffix.size() &&
        name.starts_with(prefix) && name.ends_with(kSuffix)) {
      ::unlinkat(::dirfd(open.get()), entry->d_name, 0);
    }
  }
}

Result<void> write_files(const std::vector<FileContent>& files) {
  std::vector<std::unique_ptr<Prepared>> prepared;
  for (const FileContent& file : files) {
    prepared.push_back(TRY(prepare(file)));
  }
  for (auto& file : prepared) {
    TRY(file->put_in_place());
  }
  for (auto& file : prepared) {
    TRY(file->sync_folder());
  }
  return {};
}

}  // namespace steeple::helper
