// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/account_names.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "lib/base/guarded.h"
#include "lib/io/file_descriptor.h"

namespace steeple::agent {
namespace {

using Names = std::unordered_map<std::uint32_t, std::string>;

// A file's times have the grain of the kernel's tick (10 ms at most) and of some file systems (2
// s), so a change right after our read may not show. Within this time we read again.
constexpr auto kSettled = std::chrono::seconds(3);

struct Stamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = -1;
  std::int64_t modified = 0, changed = 0;  // ns
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Stamp stamp_of(const struct stat& info) {
  return {info.st_dev, info.st_ino, info.st_size, nanoseconds(info.st_mtim),
          nanoseconds(info.st_ctim)};
}

// Nothing when it cannot be read whole.
std::optional<Bytes> read_whole(int fd) {
  Bytes content;
  std::array<char, 16384> buffer;
  while (true) {
    ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got == 0) {
      return content;
    }
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0 || content.size() + static_cast<std::size_t>(got) > kAccountFileBytesMax) {
      return std::nullopt;
    }
    content.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

class AccountFile {
 public:
  AccountFile(const Clock& clock, std::string path) : clock_(clock), path_(std::move(path)) {}

  std::optional<std::string> name_of(std::uint32_t id) {
    auto state = state_.lock();
    struct stat info{};
    if (::stat(path_.c_str(), &info) != 0) {
      *state = {};
      return std::nullopt;
    }
    if (!state->settled || state->stamp != stamp_of(info)) {
      *state = load();
    }
    auto found = state->names.find(id);
    return found == state->names.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  struct State {
    Names names;
    Stamp stamp;
    bool settled = false;
  };

  State load() const {
    State state;
    io::FileDescriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat info{};
    if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return state;
    }
    std::int64_t now = clock_.now().time_since_epoch().count();
    auto content = read_whole(file.get());
    if (!content) {
      return state;
    }
    state.names = parse_account_file(*content);
    state.stamp = stamp_of(info);
    state.settled = now - state.stamp.changed > Duration(kSettled).count();
    return state;
  }

  const Clock& clock_;
  const std::string path_;
  Guarded<State> state_;
};

class FileAccountNames final : public AccountNames {
 public:
  FileAccountNames(const Clock& clock, std::string passwd_path, std::string group_path)
      : users_(clock, std::move(passwd_path)), groups_(clock, std::move(group_path)) {}
  std::optional<std::string> user(uid_t uid) override { return users_.name_of(uid); }
  std::optional<std::string> group(gid_t gid) override { return groups_.name_of(gid); }

 private:
  AccountFile users_, groups_;
};

}  // namespace

std::unordered_map<std::uint32_t, std::string> parse_account_file(ByteView content) {
  Names names;
  while (!content.empty()) {
    auto end = std::min(content.find('\n'), content.size());
    auto line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    auto name_end = line.find(':');
    auto id_begin = name_end == ByteView::npos ? name_end : line.find(':', name_end + 1);
    if (name_end == 0 || id_begin == ByteView::npos || line.starts_with('#')) {
      continue;
    }
    auto text = line.substr(id_begin + 1);
    text = text.substr(0, text.find(':'));
    std::uint32_t id = 0;
    auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (!text.empty() && error == std::errc() && rest == text.data() + text.size()) {
      names.emplace(id, line.substr(0, name_end));
    }
  }
  return names;
}

std::unique_ptr<AccountNames> account_names(const Clock& clock, std::string passwd_path,
                                            std::string group_path) {
  return std::make_unique<FileAccountNames>(clock, std::move(passwd_path), std::move(group_path));
}

}  // namespace steeple::agent
