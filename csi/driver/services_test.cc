// SPDX-License-Identifier: Apache-2.0

// Goal: the driver answers each request as the reference does, and never does half of something.
// Method: a mount table in memory over real directories; no privileges needed.

#include "csi/driver/services.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "csi/mount/fake_mounts.h"
#include "lib/telemetry/fake_log.h"

namespace steeple::csi {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Mode = v1::VolumeCapability::AccessMode;

class CsiTest : public ::testing::Test {
 protected:
  CsiTest() {
    std::string name = "/tmp/steeple-csi-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    source_ = folder_ + "/source";
    target_ = folder_ + "/target";
    ::mkdir(source_.c_str(), 0755);
    restart();
  }
  ~CsiTest() override { std::filesystem::remove_all(folder_); }

  // A new driver process on the same node.
  void restart() {
    service_.reset();
    volumes_ = std::make_unique<Volumes>(
        mounts_, log_, Volumes::Options{.source = source_, .driver = "csi.spiffe.io"});
    service_ = std::make_unique<NodeService>(
        *volumes_, log_, ServiceOptions{.node_id = "node", .plugin_name = "csi.spiffe.io"});
  }
  // A target as the kubelet names and describes it.
  std::string kubelet_target(const std::string& pod, const std::string& driver) {
    std::string volume = folder_ + "/pods/" + pod + "/volumes/kubernetes.io~csi/spiffe";
    std::filesystem::create_directories(volume);
    std::ofstream(volume + "/vol_data.json") << R"({"driverName":")" << driver << "\"}";
    return volume + "/mount";
  }
  v1::NodePublishVolumeRequest request(const std::string& target) const {
    v1::NodePublishVolumeRequest out;
    out.set_volume_id("volume");
    out.set_target_path(target);
    out.mutable_volume_capability()->mutable_mount();
    out.mutable_volume_capability()->mutable_access_mode()->set_mode(Mode::SINGLE_NODE_WRITER);
    out.set_readonly(true);
    (*out.mutable_volume_context())["csi.storage.k8s.io/ephemeral"] = "true";
    return out;
  }
  Result<v1::NodeUnpublishVolumeResponse> unpublish(const std::string& target) {
    v1::NodeUnpublishVolumeRequest out;
    out.set_volume_id("volume");
    out.set_target_path(target);
    return service_->unpublish(out);
  }
  Result<v1::NodeGetVolumeStatsResponse> stats(const std::string& path) {
    v1::NodeGetVolumeStatsRequest out;
    out.set_volume_id("volume");
    out.set_volume_path(path);
    return service_->stats(out);
  }
  std::string condition(const std::string& path) {
    auto response = stats(path);
    return (response->volume_condition().abnormal() ? "abnormal: " : "") +
           response->volume_condition().message();
  }

  std::string folder_, source_, target_;
  CapturedLog log_;
  FakeMounts mounts_;
  std::unique_ptr<Volumes> volumes_;
  std::unique_ptr<NodeService> service_;
};

TEST_F(CsiTest, EveryMistakeInAPublishRequestIsNamedAndNothingIsMounted) {
  using Spoil = std::function<void(v1::NodePublishVolumeRequest&)>;
  const std::vector<std::pair<Spoil, std::string>> cases = {
      {[](auto& r) { r.clear_volume_id(); }, "request missing required volume id"},
      {[](auto& r) { r.clear_target_path(); }, "request missing required target path"},
      {[](auto& r) { r.clear_volume_capability(); }, "request missing required volume capability"},
      {[](auto& r) { r.mutable_volume_capability()->clear_mount(); },
       "request missing required volume capability access type"},
      {[](auto& r) { r.mutable_volume_capability()->mutable_block(); },
       "request volume capability access type must be a simple mount"},
      {[](auto& r) { r.mutable_volume_capability()->mutable_mount()->set_fs_type("ext4"); },
       "request volume capability access type must be a simple mount"},
      {[](auto& r) { r.mutable_volume_capability()->mutable_mount()->add_mount_flags("ro"); },
       "request volume capability access type must be a simple mount"},
      {[](auto& r) { r.mutable_volume_capability()->clear_access_mode(); },
       "request missing required volume capability access mode"},
      {[](auto& r) {
         r.mutable_volume_capability()->mutable_access_mode()->set_mode(
             Mode::SINGLE_NODE_READER_ONLY);
       },
       "request volume capability access mode is not valid"},
      {[](auto& r) { r.set_readonly(false); },
       "pod.spec.volumes[].csi.readOnly must be set to 'true'"},
      {[](auto& r) { r.clear_volume_context(); }, "only ephemeral volumes are supported"},
      {[](auto& r) { (*r.mutable_volume_context())["csi.storage.k8s.io/ephemeral"] = "True"; },
       "only ephemeral volumes are supported"},
  };
  for (const auto& [spoil, text] : cases) {
    v1::NodePublishVolumeRequest bad = request(target_);
    spoil(bad);
    auto response = service_->publish(bad);
    ASSERT_FALSE(response.ok()) << text;
    EXPECT_EQ(response.error().code, Code::kInvalidArgument);
    EXPECT_EQ(response.error().message, text);
    EXPECT_FALSE(std::filesystem::exists(target_));
    EXPECT_EQ(mounts_.binds, 0);
  }
}

TEST_F(CsiTest, PublishMakesTheTargetAndShowsTheDirectoryThere) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  EXPECT_EQ(mounts_.layers(target_), 1U);
  struct stat info{};
  ASSERT_EQ(::stat(target_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750U);
  EXPECT_EQ(condition(target_), "mounted");
}

TEST_F(CsiTest, PublishingTwiceMountsOnceAlsoAfterARestart) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  restart();
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  EXPECT_EQ(mounts_.layers(target_), 1U);
  EXPECT_TRUE(log_.has("Volume already published"));
}

TEST_F(CsiTest, WhatTheKernelRefusesIsInternalAndSaysWhere) {
  auto deep = service_->publish(request(target_ + "/no/parent"));
  EXPECT_EQ(deep.error().code, Code::kInternal);
  EXPECT_THAT(deep.error().message, StartsWith("unable to create target path \"" + target_));
  EXPECT_THAT(deep.error().message, HasSubstr("no such file or directory"));
  mounts_.bind_error = internal("permission denied");
  EXPECT_EQ(service_->publish(request(target_)).error().message,
            "unable to mount \"" + target_ + "\": permission denied");
  mounts_.bind_error.reset();
  mounts_.list_error = internal("no proc");
  EXPECT_EQ(service_->publish(request(target_)).error().message,
            "unable to verify mount point \"" + target_ + "\": no proc");
  EXPECT_EQ(unpublish(target_).error().message,
            "unable to verify mount point \"" + target_ + "\": no proc");
}

TEST_F(CsiTest, UnpublishRemovesMountAndTargetAndMayBeRepeated) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  ASSERT_TRUE(unpublish(target_).ok());
  EXPECT_EQ(mounts_.layers(target_), 0U);
  EXPECT_FALSE(std::filesystem::exists(target_));
  EXPECT_TRUE(unpublish(target_).ok());
}

TEST_F(CsiTest, UnpublishNeedsAVolumeAndATarget) {
  EXPECT_EQ(service_->unpublish({}).error().message, "request missing required volume id");
  EXPECT_EQ(unpublish("").error().message, "request missing required target path");
  EXPECT_EQ(unpublish("").error().code, Code::kInvalidArgument);
}

TEST_F(CsiTest, AMountThatCannotBeRemovedStaysATargetThatCannotBeRemovedIsSaid) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  mounts_.unmount_error = internal("device or resource busy");
  EXPECT_EQ(unpublish(target_).error().message,
            "unable to unmount \"" + target_ + "\": device or resource busy");
  EXPECT_EQ(mounts_.layers(target_), 1U);
  mounts_.unmount_error.reset();
  std::ofstream(target_ + "/left") << "x";
  EXPECT_THAT(unpublish(target_).error().message,
              StartsWith("unable to remove target path \"" + target_ + "\""));
}

TEST_F(CsiTest, StatsNeedAVolumeAPathAndAPathThatIsThere) {
  EXPECT_EQ(service_->stats({}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(stats("").error().code, Code::kInvalidArgument);
  EXPECT_EQ(stats("some/path").error().code, Code::kNotFound);
}

TEST_F(CsiTest, TheConditionSaysWhatIsWrong) {
  ::mkdir(target_.c_str(), 0750);
  EXPECT_EQ(condition(target_), "abnormal: volume path is not mounted");
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  EXPECT_EQ(condition(target_), "mounted");
  mounts_.replace(source_);
  EXPECT_EQ(condition(target_),
            "abnormal: the volume shows another directory than the Workload API socket directory");
  mounts_.replace(target_, /*deleted=*/true);
  EXPECT_EQ(condition(target_), "abnormal: the volume shows a directory that has been deleted");
  mounts_.list_error = internal("no proc");
  EXPECT_EQ(condition(target_),
            "abnormal: failed to determine root for volume path mount: no proc");
}

TEST_F(CsiTest, VolumesOfAReplacedDirectoryAreMendedAfterARestart) {
  std::string target = kubelet_target("pod", "csi.spiffe.io");
  ASSERT_TRUE(service_->publish(request(target)).ok());
  mounts_.replace(source_);
  restart();
  auto health = volumes_->mend();
  ASSERT_TRUE(health.ok());
  EXPECT_EQ(health->volumes, 1U);
  EXPECT_EQ(health->mended, 1U);
  EXPECT_EQ(condition(target), "mounted");
  EXPECT_EQ(volumes_->mend()->mended, 0U) << "once is enough";
}

TEST_F(CsiTest, TheNewDirectoryLiesOnTopSoThatSharedMountsSeeItAndNeverMoreThanOnce) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  for (int i = 0; i < 5; ++i) {
    mounts_.replace(source_);
    ASSERT_TRUE(volumes_->mend().ok());
    EXPECT_EQ(mounts_.layers(target_), 2U);
    EXPECT_EQ(condition(target_), "mounted");
  }
  ASSERT_TRUE(unpublish(target_).ok());
  EXPECT_EQ(mounts_.layers(target_), 0U);
}

TEST_F(CsiTest, OnADeletedDirectoryNothingCanLieSoItIsReplaced) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  mounts_.remove_shown(target_);
  mounts_.replace(source_);
  EXPECT_EQ(volumes_->mend()->mended, 1U);
  EXPECT_EQ(mounts_.layers(target_), 1U);
  EXPECT_EQ(condition(target_), "mounted");
}

TEST_F(CsiTest, VolumesOfOtherDriversAreLeftAlone) {
  std::string foreign = kubelet_target("pod", "csi.example.org");
  ::mkdir(foreign.c_str(), 0750);
  ASSERT_TRUE(mounts_.bind(source_, foreign).ok());
  mounts_.replace(source_);
  auto health = volumes_->mend();
  ASSERT_TRUE(health.ok());
  EXPECT_EQ(health->volumes, 0U);
  EXPECT_EQ(mounts_.layers(foreign), 1U);
}

TEST_F(CsiTest, WithoutADirectoryToShowVolumesStayAsTheyAre) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  mounts_.replace(source_, /*deleted=*/true);
  EXPECT_TRUE(volumes_->mend()->source_deleted);
  std::filesystem::remove(source_);
  restart();
  EXPECT_EQ(mounts_.layers(target_), 1U);
}

TEST_F(CsiTest, AFailureToMendIsCountedAndTriedAgain) {
  ASSERT_TRUE(service_->publish(request(target_)).ok());
  mounts_.replace(source_);
  mounts_.bind_error = internal("out of memory");
  EXPECT_EQ(volumes_->mend()->failed, 1U);
  EXPECT_EQ(mounts_.layers(target_), 0U) << "nothing is better than a dead directory";
  mounts_.bind_error.reset();
  EXPECT_EQ(volumes_->mend()->mended, 1U);
}

TEST_F(CsiTest, TheNodeSaysWhoItIsAndWhatItCan) {
  EXPECT_EQ(service_->plugin_info().name(), "csi.spiffe.io");
  EXPECT_FALSE(service_->plugin_info().vendor_version().empty());
  EXPECT_EQ(service_->node_info().node_id(), "node");
  EXPECT_EQ(service_->node_info().max_volumes_per_node(), 0);
  auto capabilities = service_->capabilities();
  ASSERT_EQ(capabilities.capabilities_size(), 2);
  EXPECT_EQ(capabilities.capabilities(0).rpc().type(),
            v1::NodeServiceCapability::RPC::VOLUME_CONDITION);
  EXPECT_EQ(capabilities.capabilities(1).rpc().type(),
            v1::NodeServiceCapability::RPC::GET_VOLUME_STATS);
}

}  // namespace
}  // namespace steeple::csi
