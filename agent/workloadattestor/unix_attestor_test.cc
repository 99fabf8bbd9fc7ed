// SPDX-License-Identifier: Apache-2.0

// Goal: the selectors of `unix` are the reference's, in its order, about the right process. Method:
// the twin of /proc for every branch, real children (other user, exec) for the kernel's own words.

#include "agent/workloadattestor/unix_attestor.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "agent/peer/fake_child.h"
#include "agent/peer/fake_proc_fs.h"
#include "lib/crypto/hash.h"
#include "lib/io/directory.h"

namespace steeple::agent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr pid_t kPid = 4711;

class FakeNames final : public AccountNames {
 public:
  std::optional<std::string> user(uid_t uid) override { return find(users, uid); }
  std::optional<std::string> group(gid_t gid) override { return find(groups, gid); }

  std::map<std::uint32_t, std::string> users = {{1000, "alice"}};
  std::map<std::uint32_t, std::string> groups = {{2000, "staff"}, {2001, "docker"}};

 private:
  static std::optional<std::string> find(const std::map<std::uint32_t, std::string>& names,
                                         std::uint32_t id) {
    auto found = names.find(id);
    return found == names.end() ? std::nullopt : std::optional(found->second);
  }
};

std::vector<std::string> values(const std::vector<Selector>& selectors) {
  std::vector<std::string> out;
  for (const auto& selector : selectors) {
    EXPECT_EQ(selector.type, "unix");
    out.push_back(selector.value);
  }
  return out;
}

class UnixAttestor : public testing::Test {
 protected:
  std::shared_ptr<const WorkloadProcess> caller(FakeProcess process) {
    proc_fs_.start(kPid, std::move(process));
    return WorkloadProcess::of_peer(proc_fs_.connect(kPid, true), proc_fs_).take();
  }
  Result<std::vector<Selector>> attest(FakeProcess process, UnixAttestorOptions options = {}) {
    return unix_attestor(options, names_)->attest(*caller(std::move(process)));
  }

  FakeProcFs proc_fs_;
  FakeNames names_;
};

TEST_F(UnixAttestor, SelectorsComeInTheReferencesOrder) {
  auto selectors = attest({.uid = 1000, .gid = 2000, .groups = {2001, 2002, 2000}}).take();
  EXPECT_THAT(values(selectors), ElementsAre("uid:1000", "user:alice", "gid:2000", "group:staff",
                                             "supplementary_gid:2001", "supplementary_group:docker",
                                             "supplementary_gid:2002", "supplementary_gid:2000",
                                             "supplementary_group:staff"));
}

TEST_F(UnixAttestor, IdsWithoutANameHaveNoNameSelector) {
  EXPECT_THAT(values(attest({.uid = 1, .gid = 2}).take()), ElementsAre("uid:1", "gid:2"));
}

TEST_F(UnixAttestor, LargeIdsAreNotNegative) {
  EXPECT_THAT(values(attest({.uid = 4294967294U, .gid = 4294967293U}).take()),
              ElementsAre("uid:4294967294", "gid:4294967293"));
}

TEST_F(UnixAttestor, PathAndHashAreForConfiguredOnes) {
  std::string hash = hex_encode(crypto::sha256("workload's code"));
  EXPECT_THAT(values(attest({.uid = 1, .gid = 2}, {.discover_workload_path = true}).take()),
              ElementsAre("uid:1", "gid:2", "path:/bin/workload", "sha256:" + hash));
}

TEST_F(UnixAttestor, ANegativeLimitMeansNoHash) {
  UnixAttestorOptions options{.discover_workload_path = true, .workload_size_limit = -1};
  EXPECT_THAT(values(attest({.uid = 1, .gid = 2}, options).take()),
              ElementsAre("uid:1", "gid:2", "path:/bin/workload"));
}

TEST_F(UnixAttestor, AnExecutableOverTheLimitFailsTheAttestor) {
  UnixAttestorOptions exactly{.discover_workload_path = true, .workload_size_limit = 15};
  EXPECT_TRUE(attest({}, exactly).ok());
  proc_fs_.exit(kPid);
  UnixAttestorOptions less{.discover_workload_path = true, .workload_size_limit = 14};
  auto error = attest({}, less).error();
  EXPECT_EQ(error.code, Code::kInternal);
  EXPECT_EQ(error.message, "SHA256 digest: workload /proc/4711/exe exceeds size limit (15 > 14)");
}

TEST_F(UnixAttestor, LargeExecutablesAreHashedInPieces) {
  Bytes content(3'000'001, 'x');
  auto selectors = attest({.content = content}, {.discover_workload_path = true}).take();
  EXPECT_THAT(values(selectors), Contains("sha256:" + hex_encode(crypto::sha256(content))));
}

TEST_F(UnixAttestor, FailuresNameTheirStep) {
  auto process = caller({});
  auto attestor = unix_attestor({.discover_workload_path = true}, names_);
  proc_fs_.fail_reads_of("exe");
  EXPECT_EQ(attestor->attest(*process).error().message,
            "path lookup: open /proc/4711/exe: permission denied");
  proc_fs_.fail_reads_of("status");
  EXPECT_EQ(attestor->attest(*process).error().message,
            "failed to get process: open /proc/4711/status: permission denied");
  proc_fs_.exit(kPid);
  EXPECT_EQ(attestor->attest(*process).error().message,
            "failed to get process: process does not exist");
}

TEST_F(UnixAttestor, ARealProcessOfAnotherUser) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root to become another user";
  }
  auto proc_fs = real_proc_fs();
  FakeSocket socket;
  FakeChild child([&] {
    std::array<gid_t, 2> groups = {2001, 50'000};
    // Real, effective and saved ids differ: the effective ones count.
    CHECK(::setgroups(groups.size(), groups.data()) == 0 && ::setresgid(7, 2000, 8) == 0 &&
          ::setresuid(7, 1000, 8) == 0);
    socket.connect();
  });
  auto process = WorkloadProcess::of_peer(socket.accept(), *proc_fs).take();
  EXPECT_THAT(
      values(unix_attestor({}, names_)->attest(*process).take()),
      ElementsAre("uid:1000", "user:alice", "gid:2000", "group:staff", "supplementary_gid:2001",
                  "supplementary_group:docker", "supplementary_gid:50000"));
}

TEST_F(UnixAttestor, ARealExecutableIsHashedFromTheProcessAndNotFromItsPath) {
  auto proc_fs = real_proc_fs();
  auto folder = std::filesystem::path(testing::TempDir()) / fmt::format("unix-{}", ::getpid());
  std::filesystem::create_directories(folder);
  auto program = folder / "workload";
  std::filesystem::copy_file("/bin/cat", program);
  Bytes content = io::read_file(program, 1 << 24).take();
  FakeSocket socket;
  FakeChild child([&] {
    socket.connect();
    ::execl(program.c_str(), "workload", nullptr);
  });
  auto process = WorkloadProcess::of_peer(socket.accept(), *proc_fs).take();
  auto attestor = unix_attestor({.discover_workload_path = true}, names_);
  std::string hash = "sha256:" + hex_encode(crypto::sha256(content));
  auto selectors = values(attestor->attest(*process).take());
  EXPECT_THAT(selectors, Contains("path:" + program.string()));
  EXPECT_THAT(selectors, Contains(hash));

  // Somebody puts another file at the path; the process still runs the old one.
  std::filesystem::remove(program);
  ASSERT_TRUE(io::write_file(program, "something else", 0755).ok());
  selectors = values(attestor->attest(*process).take());
  EXPECT_THAT(selectors, Contains("path:" + program.string() + " (deleted)"));
  EXPECT_THAT(selectors, Contains(hash));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace steeple::agent
