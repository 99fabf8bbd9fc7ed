// SPDX-License-Identifier: Apache-2.0

// The mount table in memory. Directories are the real ones of the test's own folder; what is
// mounted on them is only written down here, with the identity that the source had at that time,
// as a kernel keeps it.

#pragma once

#include <map>
#include <optional>

#include "csi/mount/mounts.h"

namespace steeple::csi {

class FakeMounts final : public Mounts {
 public:
  // Every call fails with it until cleared.
  std::optional<Error> list_error, bind_error, unmount_error;
  int lazy_unmounts = 0;
  int binds = 0;

  Result<std::vector<Mount>> list() override {
    if (list_error) {
      return *list_error;
    }
    std::vector<Mount> out;
    for (const auto& [target, layers] : table_) {
      for (std::size_t i = 0; i < layers.size(); ++i) {
        out.push_back({"/shown", target});
      }
    }
    return out;
  }

  Result<void> bind(const std::string& source, const std::string& target) override {
    if (bind_error) {
      return *bind_error;
    }
    DirectoryIdentity shown = TRY(identify(source));
    if (TRY(identify(target)).deleted) {
      return internal("no such file or directory");  // as the kernel says of a deleted directory
    }
    table_[target].push_back(shown);
    ++binds;
    return {};
  }

  Result<void> unmount(const std::string& target, Unmount how) override {
    if (unmount_error) {
      return *unmount_error;
    }
    auto found = table_.find(target);
    if (found == table_.end()) {
      return internal("invalid argument");
    }
    lazy_unmounts += how == Unmount::kLazy ? 1 : 0;
    found->second.pop_back();
    if (found->second.empty()) {
      table_.erase(found);
    }
    return {};
  }

  Result<DirectoryIdentity> identify(const std::string& path) override {
    if (auto replaced = replaced_.find(path); replaced != replaced_.end()) {
      return replaced->second;
    }
    if (auto found = table_.find(path); found != table_.end()) {
      return found->second.back();
    }
    return real_->identify(path);
  }

  // From now on the path leads to a directory of another file system.
  void replace(const std::string& path, bool deleted = false) {
    replaced_[path] = DirectoryIdentity{1000, next_inode_++, deleted};
  }
  // The directory that the topmost mount shows is deleted.
  void remove_shown(const std::string& target) { table_.at(target).back().deleted = true; }
  std::size_t layers(const std::string& target) const {
    auto found = table_.find(target);
    return found == table_.end() ? 0 : found->second.size();
  }

 private:
  std::unique_ptr<Mounts> real_ = kernel_mounts();
  std::map<std::string, std::vector<DirectoryIdentity>> table_;
  std::map<std::string, DirectoryIdentity> replaced_;
  std::uint64_t next_inode_ = 1;
};

}  // namespace steeple::csi
