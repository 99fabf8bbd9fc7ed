// SPDX-License-Identifier: Apache-2.0

// Goal: the folder on disk and its twin in memory keep the same contract, and each its own rules.
// Method: one suite of claims on both.

#include "lib/io/directory.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "lib/io/fake_directory.h"

namespace steeple::io {
namespace {

using ::testing::ElementsAre;

struct DiskRig {
  DiskRig() {
    char name[] = "/tmp/steeple-dir-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    path = name;
    directory = open_directory(path + "/a/b").take();
  }
  ~DiskRig() { std::filesystem::remove_all(path); }
  std::string path;
  std::unique_ptr<Directory> directory;
};

struct MemoryRig {
  std::unique_ptr<Directory> directory = std::make_unique<MemoryDirectory>();
};

template <class T>
class DirectoryContract : public ::testing::Test {
 protected:
  T rig;
  Directory& directory() { return *rig.directory; }
};
using Rigs = ::testing::Types<DiskRig, MemoryRig>;
TYPED_TEST_SUITE(DirectoryContract, Rigs, );

TYPED_TEST(DirectoryContract, what_was_written_is_read_and_replaced_whole) {
  Bytes content("\0binary\xff", 8);
  ASSERT_TRUE(this->directory().write("x", content, 0600).ok());
  EXPECT_EQ(*this->directory().read("x"), content);
  ASSERT_TRUE(this->directory().write("x", "short", 0600).ok());
  EXPECT_EQ(*this->directory().read("x"), "short");
}

TYPED_TEST(DirectoryContract, a_missing_file_is_not_found_and_removing_it_is_fine) {
  EXPECT_EQ(this->directory().read("x").error().code, Code::kNotFound);
  EXPECT_TRUE(this->directory().remove("x").ok());
}

TYPED_TEST(DirectoryContract, files_are_listed_in_order_and_removed) {
  for (const char* name : {"b", "a", "c"}) {
    ASSERT_TRUE(this->directory().write(name, name, 0600).ok());
  }
  EXPECT_THAT(*this->directory().list(), ElementsAre("a", "b", "c"));
  ASSERT_TRUE(this->directory().remove("b").ok());
  EXPECT_THAT(*this->directory().list(), ElementsAre("a", "c"));
}

TYPED_TEST(DirectoryContract, a_name_cannot_lead_out_of_the_folder) {
  for (const char* name : {"", ".", "..", "../x", "a/b", "/etc/passwd"}) {
    EXPECT_EQ(this->directory().read(name).error().code, Code::kInvalidArgument) << name;
    EXPECT_EQ(this->directory().write(name, "x", 0600).error().code, Code::kInvalidArgument);
    EXPECT_EQ(this->directory().remove(name).error().code, Code::kInvalidArgument);
  }
}

TEST(DiskDirectory, the_mode_is_exact_and_the_folder_closed_to_others) {
  DiskRig rig;
  mode_t old = ::umask(0077);
  ASSERT_TRUE(rig.directory->write("x", "x", 0644).ok());
  ::umask(old);
  struct stat info{};
  ASSERT_EQ(::stat((rig.path + "/a/b/x").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644U);
  ASSERT_EQ(::stat((rig.path + "/a/b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0007, 0U);
}

TEST(DiskDirectory, what_a_crash_left_half_written_is_never_seen_and_goes) {
  DiskRig rig;
  std::string left = rig.path + "/a/b/x.12345678.steeple-tmp";
  ASSERT_TRUE(write_file(left, "half", 0600).ok());
  EXPECT_TRUE(rig.directory->list()->empty());
  rig.directory = open_directory(rig.path + "/a/b").take();
  EXPECT_NE(::access(left.c_str(), F_OK), 0);
}

TEST(DiskDirectory, a_failed_write_keeps_the_old_file_and_leaves_nothing_behind) {
  DiskRig rig;
  std::filesystem::create_directory(rig.path + "/a/b/x");  // rename onto a folder fails
  EXPECT_FALSE(rig.directory->write("x", "new", 0600).ok());
  int entries = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(rig.path + "/a/b")) {
    ++entries;
  }
  EXPECT_EQ(entries, 1);
}

TEST(Files, reading_stops_at_the_limit) {
  DiskRig rig;
  std::string path = rig.path + "/f";
  ASSERT_TRUE(write_file(path, Bytes(1000, 'x'), 0600).ok());
  EXPECT_EQ(read_file(path, 1000)->size(), 1000U);
  EXPECT_EQ(read_file(path, 999).error().code, Code::kResourceExhausted);
  EXPECT_EQ(read_file("/dev/zero", 1000).error().code, Code::kResourceExhausted);
  Result<Bytes> missing = read_file(rig.path + "/none", 10);
  EXPECT_EQ(missing.error().message,
            fmt::format("open {}/none: no such file or directory", rig.path));
}

TEST(MemoryDisk, outlives_its_users_and_fails_as_told) {
  auto disk = std::make_shared<MemoryDisk>();
  ASSERT_TRUE(MemoryDirectory(disk).write("x", "1", 0600).ok());
  MemoryDirectory directory(disk);
  EXPECT_EQ(*directory.read("x"), "1");
  disk->fail_writes(resource_exhausted("no space left on device"));
  EXPECT_EQ(directory.write("x", "2", 0600).error().code, Code::kResourceExhausted);
  disk->fail_writes(std::nullopt);
  disk->break_next_write(false);
  EXPECT_FALSE(directory.write("x", "2", 0600).ok());
  EXPECT_EQ(*directory.read("x"), "1");
  disk->break_next_write(true);
  EXPECT_FALSE(directory.write("x", "2", 0600).ok());
  EXPECT_EQ(*directory.read("x"), "2");
}

TEST(MemoryDisk, a_lying_disk_forgets_at_the_crash_what_was_not_synced) {
  auto disk = std::make_shared<MemoryDisk>();
  MemoryDirectory directory(disk);
  ASSERT_TRUE(directory.write("x", "old", 0600).ok());
  disk->lie(true);
  ASSERT_TRUE(directory.write("x", "new", 0600).ok());
  disk->crash();
  EXPECT_EQ(*directory.read("x"), "old");
  ASSERT_TRUE(directory.write("x", "new", 0600).ok());
  disk->sync();
  disk->crash();
  EXPECT_EQ(*directory.read("x"), "new");
}

}  // namespace
}  // namespace steeple::io
