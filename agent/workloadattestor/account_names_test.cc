// SPDX-License-Identifier: Apache-2.0

// Goal: names follow the account files and never crash on them. Method: own files, a fake clock.

#include "agent/workloadattestor/account_names.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "lib/base/fake_clock.h"
#include "lib/io/directory.h"

namespace steeple::agent {
namespace {

using namespace std::chrono_literals;

TEST(AccountFile, NamesStandBeforeIds) {
  auto names = parse_account_file(
      "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/:/bin/sh\nstaff:x:50:a,b");
  EXPECT_EQ(names.size(), 3U);
  EXPECT_EQ(names[0], "root");
  EXPECT_EQ(names[1000], "alice");
  EXPECT_EQ(names[50], "staff");
}

TEST(AccountFile, TheFirstLineOfAnIdCountsAndBadLinesAreSkipped) {
  auto names = parse_account_file(
      "first:x:5:\nsecond:x:5:\n\n:x:6:\n#note:x:7:\nshort\nshort:x\nbad:x:-1:\nbad:x:1x:\n"
      "bad:x::\nbig:x:4294967296:\n+:::\nlast:x:4294967295\n");
  EXPECT_EQ(names.size(), 2U);
  EXPECT_EQ(names[5], "first");
  EXPECT_EQ(names[4294967295U], "last");
  EXPECT_TRUE(parse_account_file("").empty());
  EXPECT_TRUE(parse_account_file(Bytes(1000, ':')).empty());
  EXPECT_TRUE(parse_account_file(Bytes("\0\0\n\0", 4)).empty());
}

class AccountNamesOfFiles : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void put(const std::string& name, ByteView content) {
    ASSERT_TRUE(io::write_file(folder_ / name, content, 0644).ok());
  }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / fmt::format("accounts-{}", ::getpid());
  FakeClock clock_{system_clock().now()};
  std::unique_ptr<AccountNames> names_ =
      account_names(clock_, folder_ / "passwd", folder_ / "group");
};

TEST_F(AccountNamesOfFiles, MissingFilesAndIdsHaveNoNames) {
  EXPECT_EQ(names_->user(0), std::nullopt);
  EXPECT_EQ(names_->group(0), std::nullopt);
  put("passwd", "root:x:0:0::/:\n");
  put("group", "wheel:x:0:\n");
  EXPECT_EQ(names_->user(0), "root");
  EXPECT_EQ(names_->group(0), "wheel");
  EXPECT_EQ(names_->user(1), std::nullopt);
  std::filesystem::remove(folder_ / "passwd");
  EXPECT_EQ(names_->user(0), std::nullopt);
}

TEST_F(AccountNamesOfFiles, AReplacedFileIsSeenAtOnce) {
  put("passwd", "alice:x:1:\n");
  clock_.advance(1h);  // the file is old now, so what we read is kept
  EXPECT_EQ(names_->user(1), "alice");
  EXPECT_EQ(names_->user(1), "alice");
  put("passwd", "bobby:x:1:\n");
  EXPECT_EQ(names_->user(1), "bobby");
}

TEST_F(AccountNamesOfFiles, AChangeThatTheFilesTimesDoNotShowIsSeenWhileTheyAreFresh) {
  // A page that is dirty already: the second write through the mapping changes no time. On older
  // kernels any two writes within a tick look like this.
  put("passwd", "alice:x:1:\n");
  int fd = ::open((folder_ / "passwd").c_str(), O_RDWR);
  auto* page = static_cast<char*>(::mmap(nullptr, 11, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(page, MAP_FAILED);
  std::memcpy(page, "carol", 5);
  EXPECT_EQ(names_->user(1), "carol");
  struct stat before{}, after{};
  ASSERT_EQ(::fstat(fd, &before), 0);
  std::memcpy(page, "bobby", 5);
  ASSERT_EQ(::fstat(fd, &after), 0);
  ASSERT_EQ(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
  EXPECT_EQ(names_->user(1), "bobby");
  ::munmap(page, 11);
  ::close(fd);
}

TEST_F(AccountNamesOfFiles, WhatIsNoRegularFileIsNotRead) {
  std::filesystem::create_directory(folder_ / "passwd");
  EXPECT_EQ(names_->user(0), std::nullopt);
  ASSERT_EQ(::mkfifo((folder_ / "group").c_str(), 0600), 0);
  EXPECT_EQ(names_->group(0), std::nullopt) << "and it does not wait for a writer";
}

TEST(AccountNames, OfThisMachineKnowRoot) {
  auto names = account_names();
  EXPECT_EQ(names->user(0), "root");
  EXPECT_EQ(names->group(0), "root");
  EXPECT_EQ(names->user(3'999'999'999U), std::nullopt);
}

}  // namespace
}  // namespace steeple::agent
