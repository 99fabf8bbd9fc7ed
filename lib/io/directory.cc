// SPDX-License-Identifier: Apache-2.0

// The real disk. A write is durable once it returns: content to a temporary file, fsync, rename
// over the old one, fsync of the folder. A crash leaves the old file or the new one, and perhaps a
// temporary file, which the next open removes.

#include "lib/io/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/random.h"
#include "lib/io/file_descriptor.h"

namespace steeple::io {
namespace {

constexpr mode_t kDirectoryMode = 0750;
constexpr std::size_t kStateFileBytesMax = std::size_t{64} << 20;
constexpr std::string_view kTemporarySuffix = ".steeple-tmp";

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

Result<Bytes> read_all(int fd, const std::string& path, std::size_t bytes_max) {
  Bytes content;
  std::array<char, 16384> chunk{};
  while (true) {
    ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return errno_error(errno, fmt::format("read {}", path));
    }
    if (got == 0) {
      return content;
    }
    content.append(chunk.data(), static_cast<std::size_t>(got));
    if (content.size() > bytes_max) {
      return resource_exhausted(fmt::format("read {}: larger than {} bytes", path, bytes_max));
    }
  }
}

Result<Bytes> read_at(int folder, const char* name, const std::string& path,
                      std::size_t bytes_max) {
  FileDescriptor file(::openat(folder, name, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    return errno_error(errno, fmt::format("open {}", path));
  }
  return read_all(file.get(), path, bytes_max);
}

Result<void> write_all(int fd, ByteView content, const std::string& path) {
  while (!content.empty()) {
    ssize_t put = ::write(fd, content.data(), content.size());
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put < 0) {
      return errno_error(errno, fmt::format("write {}", path));
    }
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> write_and_sync(int folder, const std::string& temporary, ByteView content, mode_t mode,
                            const std::string& path) {
  FileDescriptor file(
      ::openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.valid()) {
    return errno_error(errno, fmt::format("open {}", path));
  }
  if (::fchmod(file.get(), mode) != 0) {  // whatever the umask
    return errno_error(errno, fmt::format("chmod {}", path));
  }
  TRY(write_all(file.get(), content, path));
  if (::fsync(file.get()) != 0) {
    return errno_error(errno, fmt::format("fsync {}", path));
  }
  return {};
}

Result<void> write_at(int folder, const std::string& name, ByteView content, mode_t mode,
                      const std::string& path) {
  std::string temporary =
      fmt::format("{}.{}{}", name, system_random().alphanumeric(8), kTemporarySuffix);
  Result<void> written = write_and_sync(folder, temporary, content, mode, path);
  if (written.ok() && ::renameat(folder, temporary.c_str(), folder, name.c_str()) != 0) {
    written = errno_error(errno, fmt::format("rename {}", path));
  }
  if (!written.ok()) {
    ::unlinkat(folder, temporary.c_str(), 0);
    return written;
  }
  if (::fsync(folder) != 0) {
    return errno_error(errno, fmt::format("fsync folder of {}", path));
  }
  return {};
}

// A name in this folder, not a way out of it.
Result<void> check_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return invalid_argument(fmt::format("\"{}\" is not a file name", name));
  }
  return {};
}

class DiskDirectory final : public Directory {
 public:
  DiskDirectory(std::string path, FileDescriptor folder)
      : path_(std::move(path)), folder_(std::move(folder)) {}

  Result<Bytes> read(const std::string& name) override {
    TRY(check_name(name));
    return read_at(folder_.get(), name.c_str(), full(name), kStateFileBytesMax);
  }

  Result<void> write(const std::string& name, ByteView content, mode_t mode) override {
    TRY(check_name(name));
    return write_at(folder_.get(), name, content, mode, full(name));
  }

  Result<void> remove(const std::string& name) override {
    TRY(check_name(name));
    if (::unlinkat(folder_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
      return errno_error(errno, fmt::format("remove {}", full(name)));
    }
    if (::fsync(folder_.get()) != 0) {
      return errno_error(errno, fmt::format("fsync {}", path_));
    }
    return {};
  }

  Result<std::vector<std::string>> list() override { return names(false); }

  void remove_leftovers() {
    Result<std::vector<std::string>> all = names(true);
    if (!all.ok()) {
      return;
    }
    for (const std::string& name : *all) {
      if (name.ends_with(kTemporarySuffix)) {
        ::unlinkat(folder_.get(), name.c_str(), 0);
      }
    }
  }

 private:
  std::string full(const std::string& name) const { return fmt::format("{}/{}", path_, name); }

  Result<std::vector<std::string>> names(bool with_temporary) {
    FileDescriptor again(::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!again.valid()) {
      return errno_error(errno, fmt::format("open {}", path_));
    }
    std::unique_ptr<DIR, DirCloser> dir(::fdopendir(again.get()));
    if (!dir) {
      return errno_error(errno, fmt::format("read {}", path_));
    }
    again.release();
    std::vector<std::string> out;
    while (dirent* entry = ::readdir(dir.get())) {
      std::string name = entry->d_name;
      struct stat info{};
      if (::fstatat(folder_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
          S_ISREG(info.st_mode) && (with_temporary || !name.ends_with(kTemporarySuffix))) {
        out.push_back(std::move(name));
      }
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  const std::string path_;
  const FileDescriptor folder_;
};

}  // namespace

Result<void> make_directories(const std::string& path, mode_t mode) {
  for (std::size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    std::string part = path.substr(0, at);
    if (!part.empty() && ::mkdir(part.c_str(), mode) == 0) {
      ::chmod(part.c_str(), mode);  // the umask took something off: 0755 must be open to all
    } else if (!part.empty() && errno != EEXIST) {
      int number = errno;
      struct stat info{};
      // A folder that stands is fine, also where we may not create (read-only parents).
      if (::stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
        return errno_error(number, fmt::format("mkdir {}", part));
      }
    }
    if (at == std::string::npos) {
      return {};
    }
  }
}

Result<std::unique_ptr<Directory>> open_directory(const std::string& path) {
  TRY(make_directories(path, kDirectoryMode));
  FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) {
    return errno_error(errno, fmt::format("open {}", path));
  }
  auto directory = std::make_unique<DiskDirectory>(path, std::move(folder));
  directory->remove_leftovers();
  return std::unique_ptr<Directory>(std::move(directory));
}

Result<Bytes> read_file(const std::string& path, std::size_t bytes_max) {
  return read_at(AT_FDCWD, path.c_str(), path, bytes_max);
}

Result<void> write_file(const std::string& path, ByteView content, mode_t mode) {
  std::size_t slash = path.rfind('/');
  std::string folder_path = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  TRY(check_name(name));
  FileDescriptor folder(::open(folder_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) {
    return errno_error(errno, fmt::format("open {}", path));
  }
  return write_at(folder.get(), name, content, mode, path);
}

}  // namespace steeple::io
