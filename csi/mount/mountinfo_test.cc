// SPDX-License-Identifier: Apache-2.0

// Goal: the mount table is read as the kernel means it. Method: lines as kernels write them.

#include "csi/mount/mountinfo.h"

#include <gmock/gmock.h>

#include "csi/mount/mounts.h"
#include "lib/io/directory.h"

namespace steeple::csi {
namespace {

constexpr const char* kPods =
    "1297 1276 254:1 /lib/kubelet/pods /var/lib/kubelet/pods rw,relatime shared:195 master:28 - "
    "ext4 /dev/vda1 rw\n"
    "1306 1297 0:25 /spire/sockets//deleted /var/lib/kubelet/pods/p/volumes/mount ro shared:257 - "
    "tmpfs tmpfs rw\n"
    "1307 1306 0:25 /spire/sockets /var/lib/kubelet/pods/p/volumes/mount rw - tmpfs tmpfs rw\n";

TEST(MountInfoTest, EveryLineGivesItsRootAndMountPoint) {
  auto mounts = parse_mountinfo(kPods);
  ASSERT_TRUE(mounts.ok());
  ASSERT_EQ(mounts->size(), 3U);
  EXPECT_EQ((*mounts)[0].mount_point, "/var/lib/kubelet/pods");
  EXPECT_EQ((*mounts)[1].root, "/spire/sockets//deleted");
  EXPECT_EQ(layers_at(*mounts, "/var/lib/kubelet/pods/p/volumes/mount"), 2U);
  EXPECT_EQ(layers_at(*mounts, "/var/lib/kubelet/pods/p/volumes/mountother"), 0U);
}

TEST(MountInfoTest, ALastLineWithoutNewlineCounts) {
  auto mounts = parse_mountinfo("36 35 0:0 / /mnt rw - tmpfs tmpfs rw");
  ASSERT_TRUE(mounts.ok());
  EXPECT_EQ(layers_at(*mounts, "/mnt"), 1U);
}

TEST(MountInfoTest, OctalEscapesBecomeTheirBytes) {
  auto mounts = parse_mountinfo(
      "36 35 0:0 / /mnt/a\\040b\\040c rw - tmpfs tmpfs rw\n"
      "37 35 0:0 / /mnt/double\\040\\040space rw - tmpfs tmpfs rw\n"
      "38 35 0:0 / /mnt/back\\134040 rw - tmpfs tmpfs rw\n");
  ASSERT_TRUE(mounts.ok());
  EXPECT_EQ((*mounts)[0].mount_point, "/mnt/a b c");
  EXPECT_EQ((*mounts)[1].mount_point, "/mnt/double  space");
  EXPECT_EQ((*mounts)[2].mount_point, "/mnt/back\\040") << "an escaped backslash starts no escape";
  EXPECT_EQ(layers_at(*mounts, "/mnt/a\\040b\\040c"), 0U) << "the escaped form is no path";
}

TEST(MountInfoTest, WhatIsNoEscapeStaysAsItIs) {
  EXPECT_EQ(unescape_octal("a\\04"), "a\\04");
  EXPECT_EQ(unescape_octal("a\\089"), "a\\089");
  EXPECT_EQ(unescape_octal("a\\777"), "a\\777") << "no byte has this number";
  EXPECT_EQ(unescape_octal("a\\"), "a\\");
  EXPECT_EQ(unescape_octal("\\011\\012"), "\t\n");
}

TEST(MountInfoTest, ALineWithoutMountPointIsAnErrorThatNamesIt) {
  auto mounts = parse_mountinfo("36 35 0:0 / /mnt rw\n36 35 0:0 /\n");
  ASSERT_FALSE(mounts.ok());
  EXPECT_EQ(mounts.error().message, "line 2 of the mount table has no mount point");
}

TEST(MountInfoTest, LinesHaveALimit) {
  std::string line = "36 35 0:0 / /" + std::string(kMountLineBytesMax, 'x') + " rw\n";
  EXPECT_EQ(parse_mountinfo(line).error().code, Code::kResourceExhausted);
}

TEST(MountInfoTest, TheKernelsOwnTableIsReadWhole) {
  auto mounts = kernel_mounts()->list();
  ASSERT_TRUE(mounts.ok()) << mounts.error().message;
  EXPECT_GE(layers_at(*mounts, "/"), 1U);
  EXPECT_GE(layers_at(*mounts, "/proc"), 1U);
}

TEST(VolumeDataTest, NamesTheDriver) {
  EXPECT_EQ(driver_of_volume_data(R"({"driverName":"csi.spiffe.io","specVolID":"x"})"),
            "csi.spiffe.io");
}

TEST(VolumeDataTest, WhatIsNoSuchFileNamesNone) {
  for (const char* text : {"", "{", "[]", R"({"driverName":7})", R"({"driver":"x"})", "nul"}) {
    EXPECT_EQ(driver_of_volume_data(text), "") << text;
  }
}

}  // namespace
}  // namespace steeple::csi
