// SPDX-License-Identifier: Apache-2.0

// Goal: the right container and pod from what every common runtime, cgroup version and driver
// writes, and no word at all when the files contradict each other or were shaped by the workload.

#include "agent/workloadattestor/container.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace steeple::agent {
namespace {

using testing::HasSubstr;

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kOther = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const std::string kUid = "2bfd3a4c-9d7e-4f10-8a6b-0c1d2e3f4a5b";
const std::string kUnder = "2bfd3a4c_9d7e_4f10_8a6b_0c1d2e3f4a5b";
const std::string kUid2 = "a2830d0d-b0f0-4ff0-81b5-0ee4e299cf80";

Bytes no_mounts() { return {}; }
Result<ContainerRef> find(const std::string& cgroup, const std::string& mountinfo = no_mounts()) {
  return find_container(cgroup, [&]() -> Result<Bytes> { return mountinfo; });
}

struct Shape {
  const char* name;
  std::string path;
  ContainerRef want;
};

TEST(ContainerTest, CommonRuntimesAndDrivers) {
  const ContainerRef pod{kUid, kId}, alone{"", kId}, none{};
  const Shape shapes[] = {
      {"cgroupfs driver", "/kubepods/besteffort/pod" + kUid + "/" + kId, pod},
      {"cgroupfs driver, guaranteed", "/kubepods/pod" + kUid + "/" + kId, pod},
      {"containerd, systemd driver",
       "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUnder +
           ".slice/cri-containerd-" + kId + ".scope",
       pod},
      {"cri-o, systemd driver",
       "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUnder +
           ".slice/crio-" + kId + ".scope",
       pod},
      {"cri-o with a subgroup",
       "/kubepods.slice/kubepods-pod" + kUnder + ".slice/crio-" + kId + ".scope/container", pod},
      {"docker, systemd driver",
       "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUnder +
           ".slice/docker-" + kId + ".scope",
       pod},
      {"containerd, colons",
       "/system.slice/containerd.service/kubepods-besteffort-pod" + kUnder +
           ".slice:cri-containerd:" + kId,
       pod},
      {"kind inside docker", "/docker/" + kOther + "/kubepods/besteffort/pod" + kUid + "/" + kId,
       pod},
      {"a cluster below a group of its own",
       "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
       "kubelet-kubepods-besteffort-pod" +
           kUnder + ".slice/cri-containerd-" + kId + ".scope",
       pod},
      {"systemd inside the container",
       "/kubepods/besteffort/pod" + kUid + "/" + kId + "/system.slice/nginx.service", pod},
      {"docker alone", "/docker/" + kId, alone},
      {"podman alone", "/machine.slice/libpod-" + kId + ".scope", alone},
      {"an ordinary service", "/system.slice/ssh.service", none},
      {"the root", "/", none},
      {"nothing", "", none},
      {"a static pod's UID is a hash", "/kubepods/besteffort/pod" + kId.substr(0, 32) + "/" + kId,
       alone},
      {"63 digits", "/kubepods/pod" + kUid + "/" + kId.substr(1), none},
      {"65 digits", "/kubepods/pod" + kUid + "/a" + kId, none},
      {"an underscore joins words", "/kubepods/pod" + kUid + "/x_" + kId, none},
      {"a pod without a container", "/kubepods/besteffort/pod" + kUid, none},
      {"not a pod", "/xpod" + kUid + "/" + kId, alone},
  };
  for (const Shape& shape : shapes) {
    EXPECT_EQ(container_in_path(shape.path), shape.want) << shape.name;
    auto v2 = find("0::" + shape.path + "\n");
    ASSERT_TRUE(v2.ok()) << shape.name;
    EXPECT_EQ(*v2, shape.want) << shape.name << ", version 2";
    std::string v1;
    for (const char* controller : {"12:cpu,cpuacct:", "11:memory:", "1:name=systemd:"}) {
      v1 += controller + shape.path + "\n";
    }
    EXPECT_EQ(find(v1).take(), shape.want) << shape.name << ", version 1";
  }
}

TEST(ContainerTest, ALineWithAPodWinsOverOnesWithout) {
  std::string pod = "1:cpuset:/docker/" + kOther + "/kubepods/besteffort/pod" + kUid + "/" + kId;
  std::string runtime = "0::/docker/" + kOther + "/system.slice/containerd.service";
  ContainerRef want{kUid, kId};
  EXPECT_EQ(find(pod + "\n" + runtime + "\n").take(), want);
  EXPECT_EQ(find(runtime + "\n" + pod + "\n").take(), want);
}

TEST(ContainerTest, ContradictionsAreRefused) {
  std::string one = "1:cpu:/kubepods/pod" + kUid + "/" + kId + "\n";
  EXPECT_THAT(find(one + "2:memory:/kubepods/pod" + kUid2 + "/" + kId).error().message,
              HasSubstr("multiple pod UIDs found"));
  auto error = find(one + "2:memory:/kubepods/pod" + kUid + "/" + kOther).error();
  EXPECT_EQ(error.code, Code::kFailedPrecondition);
  EXPECT_THAT(error.message, HasSubstr("multiple container IDs found"));
  EXPECT_THAT(find("1:cpu:/docker/" + kId + "\n2:memory:/docker/" + kOther).error().message,
              HasSubstr("multiple container IDs found"));
}

std::string mount(const std::string& root, const std::string& type) {
  return "601 590 0:29 " + root + " /sys/fs/cgroup ro,nosuid - " + type + " cgroup rw\n";
}

TEST(ContainerTest, MountsSpeakOnlyWhenTheCgroupsAreSilent) {
  std::string silent = "0::/\n", forged = mount("/kubepods/pod" + kUid2 + "/" + kOther, "cgroup2");
  EXPECT_EQ(find(silent, mount("/../../pod" + kUid + "/" + kId, "cgroup2")).take(),
            (ContainerRef{kUid, kId}));
  // A workload that mounts somebody else's cgroup stays what the kernel says it is.
  EXPECT_EQ(find("0::/kubepods/pod" + kUid + "/" + kId, forged).take(), (ContainerRef{kUid, kId}));
}

TEST(ContainerTest, OnlyCgroupMountsBelowTheRootCount) {
  EXPECT_EQ(find("0::/\n", mount("/", "cgroup2")).take(), ContainerRef());
  EXPECT_EQ(find("0::/\n", mount("/pod" + kUid + "/" + kId, "ext4")).take(), ContainerRef());
  EXPECT_EQ(find("0::/\n", mount("/", "cgroup") + mount("/docker/" + kId, "cgroup")).take(),
            (ContainerRef{"", kId}));
  EXPECT_THAT(
      find("0::/\n", mount("/docker/" + kId, "cgroup") + mount("/docker/" + kOther, "cgroup"))
          .error()
          .message,
      HasSubstr("multiple container IDs found"));
}

TEST(ContainerTest, AFileThatIsNoCgroupFileIsAnError) {
  EXPECT_THAT(find("nonsense\n").error().message, HasSubstr("fewer than 3 fields"));
}

}  // namespace
}  // namespace steeple::agent
