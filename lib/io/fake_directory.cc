// SPDX-License-Identifier: Apache-2.0

#include "lib/io/fake_directory.h"

namespace steeple::io {
namespace {

Result<void> check_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return invalid_argument(fmt::format("\"{}\" is not a file name", name));
  }
  return {};
}

}  // namespace

void MemoryDisk::fail_writes(std::optional<Error> error) {
  state_.lock()->failure = std::move(error);
}
void MemoryDisk::break_next_write(bool kept) { state_.lock()->break_kept = kept; }

void MemoryDisk::lie(bool lying) {
  auto state = state_.lock();
  state->lying = lying;
  state->durable = state->files;
}

void MemoryDisk::sync() {
  auto state = state_.lock();
  state->durable = state->files;
}

void MemoryDisk::crash() {
  auto state = state_.lock();
  if (state->lying) {
    state->files = state->durable;
  }
}

std::optional<MemoryFile> MemoryDisk::file(const std::string& name) {
  auto state = state_.lock();
  auto found = state->files.find(name);
  return found == state->files.end() ? std::nullopt : std::optional(found->second);
}

std::uint64_t MemoryDisk::writes() { return state_.lock()->writes; }

Result<Bytes> MemoryDirectory::read(const std::string& name) {
  TRY(check_name(name));
  auto state = disk_->state_.lock();
  auto found = state->files.find(name);
  if (found == state->files.end()) {
    return not_found(fmt::format("open {}: no such file or directory", name));
  }
  return found->second.content;
}

Result<void> MemoryDirectory::write(const std::string& name, ByteView content, mode_t mode) {
  TRY(check_name(name));
  auto state = disk_->state_.lock();
  if (state->failure) {
    return *state->failure;
  }
  bool breaks = state->break_kept.has_value();
  if (!breaks || *state->break_kept) {
    state->files[name] = {Bytes(content), mode};
    ++state->writes;
  }
  state->break_kept.reset();
  return breaks ? Result<void>(unavailable(fmt::format("write {}: input/output error", name)))
                : Result<void>();
}

Result<void> MemoryDirectory::remove(const std::string& name) {
  TRY(check_name(name));
  auto state = disk_->state_.lock();
  if (state->failure) {
    return *state->failure;
  }
  state->files.erase(name);
  return {};
}

Result<std::vector<std::string>> MemoryDirectory::list() {
  auto state = disk_->state_.lock();
  std::vector<std::string> out;
  for (const auto& [name, file] : state->files) {
    out.push_back(name);
  }
  return out;
}

}  // namespace steeple::io
