// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/unix_attestor.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "lib/crypto/hash_stream.h"

namespace steeple::agent {
namespace {

constexpr std::size_t kReadBytes = std::size_t{256} << 10;

class UnixAttestor final : public BlockingAttestor {
 public:
  UnixAttestor(UnixAttestorOptions options, AccountNames& names)
      : options_(options), names_(names) {}

  const std::string& name() const override { return name_; }
  Result<std::vector<Selector>> attest(const WorkloadProcess& process) override;

 private:
  Selector selector(std::string_view key, std::string_view value) const {
    return {name_, fmt::format("{}:{}", key, value)};
  }
  Result<std::string> sha256_of_executable(const WorkloadProcess& process) const;

  const UnixAttestorOptions options_;
  AccountNames& names_;
  const std::string name_ = "unix";
};

Result<std::vector<Selector>> UnixAttestor::attest(const WorkloadProcess& process) {
  auto status = process.read("status");
  if (!status.ok()) {
    return internal(
        fmt::format("failed to get process: {}", status.error().code == Code::kNotFound
                                                     ? std::string("process does not exist")
                                                     : status.error().message));
  }
  auto ids = TRY(parse_process_ids(*status));
  std::vector<Selector> selectors;
  selectors.reserve(6 + 2 * ids.groups.size());
  selectors.push_back(selector("uid", std::to_string(ids.uid)));
  if (auto user = names_.user(ids.uid)) {
    selectors.push_back(selector("user", *user));
  }
  selectors.push_back(selector("gid", std::to_string(ids.gid)));
  if (auto group = names_.group(ids.gid)) {
    selectors.push_back(selector("group", *group));
  }
  for (gid_t gid : ids.groups) {
    selectors.push_back(selector("supplementary_gid", std::to_string(gid)));
    if (auto group = names_.group(gid)) {
      selectors.push_back(selector("supplementary_group", *group));
    }
  }
  if (options_.discover_workload_path) {
    auto path = process.read_link("exe");
    if (!path.ok()) {
      return internal(fmt::format("path lookup: {}", path.error().message));
    }
    selectors.push_back(selector("path", *path));
    if (options_.workload_size_limit >= 0) {
      auto hash = TRY(sha256_of_executable(process).during("SHA256 digest"));
      selectors.push_back(selector("sha256", hash));
    }
  }
  return selectors;
}

Result<std::string> UnixAttestor::sha256_of_executable(const WorkloadProcess& process) const {
  auto file = process.open("exe");
  if (!file.ok()) {
    return internal(file.error().message);
  }
  const auto limit = options_.workload_size_limit;
  auto too_large = [&](std::int64_t size) {
    return internal(
        fmt::format("workload {} exceeds size limit ({} > {})", process.path("exe"), size, limit));
  };
  struct stat info{};
  if (limit > 0) {
    if (::fstat(file->get(), &info) != 0) {
      return internal(fmt::format("stat {}: {}", process.path("exe"), errno_text(errno)));
    }
    if (info.st_size > limit) {
      return too_large(info.st_size);
    }
  }
  crypto::HashStream hash(crypto::Hash::kSha256);
  auto buffer = std::make_unique_for_overwrite<char[]>(kReadBytes);
  std::int64_t size = 0;
  while (true) {
    ssize_t got = ::read(file->get(), buffer.get(), kReadBytes);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return internal(fmt::format("read {}: {}", process.path("exe"), errno_text(errno)));
    }
    if (got == 0) {
      return hex_encode(hash.finish());
    }
    size += got;
    if (limit > 0 && size > limit) {
      return too_large(size);  // it grew meanwhile
    }
    hash.update({buffer.get(), static_cast<std::size_t>(got)});
  }
}

}  // namespace

std::unique_ptr<BlockingAttestor> unix_attestor(UnixAttestorOptions options, AccountNames& names) {
  return std::make_unique<UnixAttestor>(options, names);
}

}  // namespace steeple::agent
