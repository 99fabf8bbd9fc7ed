// SPDX-License-Identifier: Apache-2.0

// Goal: the driver serves the kubelet and looks after its volumes by itself. Method: simulated time
// and network, a mount table in memory.

#include "csi/driver/driver.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "csi/mount/fake_mounts.h"
#include "kubelet/pluginregistration/v1/api.pb.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/client.h"
#include "lib/telemetry/fake_log.h"

namespace steeple::csi {
namespace {

using std::chrono::seconds;

class DriverTest : public ::testing::Test {
 protected:
  DriverTest() {
    std::string name = "/tmp/steeple-csi-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    options_.node_id = "node";
    options_.csi_socket_path = "/csi/csi.sock";
    options_.workload_api_socket_dir = folder_ + "/source";
    options_.kubelet_registration_path = "/var/lib/kubelet/plugins/csi.spiffe.io/csi.sock";
    options_.plugin_registration_socket = "/registration/csi.spiffe.io-reg.sock";
    ::mkdir(options_.workload_api_socket_dir.c_str(), 0755);
  }
  ~DriverTest() override {
    driver_.reset();
    std::filesystem::remove_all(folder_);
  }

  void start() {
    driver_ = std::make_unique<Driver>(options_,
                                       Driver::Deps{.loop = loop_,
                                                    .workers = workers_,
                                                    .network = *network_,
                                                    .random = random_,
                                                    .mounts = mounts_,
                                                    .log = log_},
                                       [this](Result<void> why) { ended_ = std::move(why); });
    loop_.post([this] { ASSERT_TRUE(driver_->start().ok()); });
    scheduler_.run_for(seconds(1));
  }
  template <class Response, class Request>
  Result<Response> call(const std::string& socket, const std::string& method,
                        const Request& request) {
    Result<Response> answer = internal("no answer");
    std::unique_ptr<rpc::Channel> channel;
    std::unique_ptr<rpc::ClientCall> pending;
    loop_.post([&] {
      channel =
          std::make_unique<rpc::Channel>(rpc::Channel::Deps{loop_, *network_, nullptr, random_},
                                         io::Endpoint::unix_socket(socket), nullptr);
      pending = channel->unary(method, request.SerializeAsString(), {}, [&](Result<Bytes> raw) {
        Response response;
        if (!raw.ok()) {
          answer = std::move(raw.error());
        } else if (response.ParseFromString(*raw)) {
          answer = std::move(response);
        }
      });
    });
    scheduler_.run_for(seconds(1));
    loop_.post([&] {
      pending.reset();
      channel.reset();
    });
    scheduler_.run_ready();
    return answer;
  }

  v1::NodePublishVolumeRequest publish_request() const {
    v1::NodePublishVolumeRequest request;
    request.set_volume_id("volume");
    request.set_target_path(folder_ + "/target");
    request.mutable_volume_capability()->mutable_mount();
    request.mutable_volume_capability()->mutable_access_mode();
    request.set_readonly(true);
    (*request.mutable_volume_context())["csi.storage.k8s.io/ephemeral"] = "true";
    return request;
  }

  std::string folder_;
  DriverOptions options_;
  FakeClock clock_;
  SeededRandom random_{1};
  io::SimScheduler scheduler_{clock_, 1};
  io::SimLoop loop_{scheduler_};
  io::SimWorkers workers_{scheduler_};
  io::SimSwitch switch_{scheduler_};
  std::unique_ptr<io::Network> network_ = switch_.join("node");
  CapturedLog log_;
  FakeMounts mounts_;
  std::optional<Result<void>> ended_;
  std::unique_ptr<Driver> driver_;
};

TEST_F(DriverTest, TheKubeletIsToldWhoWeAreAndItsAnswerCounts) {
  start();
  auto info = call<pluginregistration::PluginInfo>(options_.plugin_registration_socket,
                                                   "/pluginregistration.Registration/GetInfo",
                                                   pluginregistration::InfoRequest());
  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_EQ(info->type(), "CSIPlugin");
  EXPECT_EQ(info->name(), "csi.spiffe.io");
  EXPECT_EQ(info->endpoint(), options_.kubelet_registration_path);
  ASSERT_EQ(info->supported_versions_size(), 1);
  EXPECT_EQ(info->supported_versions(0), "1.0.0");
  pluginregistration::RegistrationStatus status;
  status.set_error("no");
  for (bool registered : {false, true}) {
    status.set_plugin_registered(registered);
    ASSERT_TRUE(call<pluginregistration::RegistrationStatusResponse>(
                    options_.plugin_registration_socket,
                    "/pluginregistration.Registration/NotifyRegistrationStatus", status)
                    .ok());
    EXPECT_EQ(driver_->healthy(), registered);
  }
}

TEST_F(DriverTest, ControllerAndStagingAreNotServed) {
  start();
  v1::ProbeRequest empty;
  for (const char* method : {"/csi.v1.Controller/CreateVolume", "/csi.v1.Node/NodeStageVolume",
                             "/csi.v1.Node/NodeUnstageVolume", "/csi.v1.Node/NodeExpandVolume"}) {
    auto answer = call<v1::ProbeResponse>(options_.csi_socket_path, method, empty);
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code, Code::kUnimplemented) << method;
  }
}

TEST_F(DriverTest, ProbeIsSilentWhenAllIsWellAndSaysWhenTheDirectoryIsGone) {
  start();
  auto probe = [&] {
    return call<v1::ProbeResponse>(options_.csi_socket_path, "/csi.v1.Identity/Probe",
                                   v1::ProbeRequest());
  };
  EXPECT_FALSE(probe()->has_ready());
  std::filesystem::remove(options_.workload_api_socket_dir);
  scheduler_.run_for(seconds(6));
  ASSERT_TRUE(probe()->has_ready());
  EXPECT_FALSE(probe()->ready().value());
  EXPECT_FALSE(ended_) << "it may be made anew at the same path";
  ::mkdir(options_.workload_api_socket_dir.c_str(), 0755);
  scheduler_.run_for(seconds(6));
  EXPECT_FALSE(probe()->has_ready());
}

TEST_F(DriverTest, AReplacedDirectoryIsSeenWithoutBeingTold) {
  start();
  v1::NodePublishVolumeRequest request = publish_request();
  ASSERT_TRUE(call<v1::NodePublishVolumeResponse>(options_.csi_socket_path,
                                                  "/csi.v1.Node/NodePublishVolume", request)
                  .ok());
  mounts_.replace(options_.workload_api_socket_dir);
  scheduler_.run_for(kMendInterval + seconds(1));
  EXPECT_EQ(mounts_.layers(folder_ + "/target"), 2U);
}

TEST_F(DriverTest, ADirectoryThatNoPathLeadsToAnyMoreEndsTheDriverSoThatItStartsAnew) {
  start();
  mounts_.replace(options_.workload_api_socket_dir, /*deleted=*/true);
  scheduler_.run_for(seconds(30));
  ASSERT_TRUE(ended_);
  EXPECT_FALSE(ended_->ok());
}

TEST_F(DriverTest, ADirectoryThatWasDeadFromTheStartDoesNotEndIt) {
  mounts_.replace(options_.workload_api_socket_dir, /*deleted=*/true);
  start();
  scheduler_.run_for(seconds(60));
  EXPECT_FALSE(ended_);
  EXPECT_FALSE(driver_->healthy());
}

TEST_F(DriverTest, StoppingEndsWellAndTakesTheSocketsAway) {
  start();
  loop_.post([this] { driver_->stop(); });
  scheduler_.run_for(seconds(10));
  ASSERT_TRUE(ended_);
  EXPECT_TRUE(ended_->ok());
  EXPECT_FALSE(call<v1::ProbeResponse>(options_.csi_socket_path, "/csi.v1.Identity/Probe",
                                       v1::ProbeRequest())
                   .ok());
}

TEST_F(DriverTest, AVolumeThatIsLeftCanBeUnmountedWhileTheDriverStops) {
  options_.shutdown_delay = seconds(5);
  start();
  v1::NodePublishVolumeRequest publish = publish_request();
  ASSERT_TRUE(call<v1::NodePublishVolumeResponse>(options_.csi_socket_path,
                                                  "/csi.v1.Node/NodePublishVolume", publish)
                  .ok());
  loop_.post([this] { driver_->stop(); });
  scheduler_.run_for(seconds(2));
  EXPECT_FALSE(ended_);
  v1::NodeUnpublishVolumeRequest unpublish;
  unpublish.set_volume_id(publish.volume_id());
  unpublish.set_target_path(publish.target_path());
  EXPECT_TRUE(call<v1::NodeUnpublishVolumeResponse>(options_.csi_socket_path,
                                                    "/csi.v1.Node/NodeUnpublishVolume", unpublish)
                  .ok());
  scheduler_.run_for(seconds(1));
  ASSERT_TRUE(ended_) << "nothing is left to wait for";
  EXPECT_TRUE(ended_->ok());
}

TEST_F(DriverTest, VolumesThatStayDelayTheStopAsLongAsConfigured) {
  options_.shutdown_delay = seconds(5);
  start();
  ASSERT_TRUE(call<v1::NodePublishVolumeResponse>(
                  options_.csi_socket_path, "/csi.v1.Node/NodePublishVolume", publish_request())
                  .ok());
  loop_.post([this] { driver_->stop(); });
  scheduler_.run_for(seconds(4));
  EXPECT_FALSE(ended_);
  scheduler_.run_for(seconds(8));
  ASSERT_TRUE(ended_);
  EXPECT_TRUE(ended_->ok());
}

TEST(DriverOptionsTest, WhatIsMissingIsNamed) {
  DriverOptions options;
  EXPECT_EQ(check_options(options).error().message, "node ID is required");
  options.node_id = "n";
  EXPECT_EQ(check_options(options).error().message, "workload API socket directory is required");
  options.workload_api_socket_dir = "/d";
  EXPECT_TRUE(check_options(options).ok());
  options.plugin_registration_socket = "/r";
  EXPECT_FALSE(check_options(options).ok());
}

}  // namespace
}  // namespace steeple::csi
