// SPDX-License-Identifier: Apache-2.0

#include "csi/driver/services.h"

#include <fmt/format.h>

#include "kubelet/pluginregistration/v1/api.pb.h"

namespace steeple::csi {
namespace {

using AccessMode = v1::VolumeCapability::AccessMode;

constexpr const char* kEphemeral = "csi.storage.k8s.io/ephemeral";

bool is_plain_mount(const v1::VolumeCapability& capability) {
  return capability.has_mount() && capability.mount().fs_type().empty() &&
         capability.mount().mount_flags().empty();
}

template <class Request, class Function>
void add_node(rpc::Server& server, std::string_view method, Function function) {
  using Response = typename std::invoke_result_t<Function&, const Request&>::value_type;
  rpc::add_unary<Request, Response>(
      server, fmt::format("/csi.v1.Node/{}", method), rpc::Where::kWorker,
      [function = std::move(function)](rpc::CallContext&, const Request& request) {
        return function(request);
      });
}

// Calls of the services that we have, which this kind of volume has no use for.
void refuse_others(rpc::Server& server) {
  for (const char* method : {"NodeStageVolume", "NodeUnstageVolume", "NodeExpandVolume"}) {
    server.unary(fmt::format("/csi.v1.Node/{}", method), rpc::Where::kLoop,
                 [method](rpc::CallContext&, ByteView) -> Result<Bytes> {
                   return unimplemented(fmt::format("method {} not implemented", method));
                 });
  }
}

}  // namespace

Result<void> check_publish(const v1::NodePublishVolumeRequest& request) {
  const v1::VolumeCapability& capability = request.volume_capability();
  auto context = request.volume_context().find(kEphemeral);
  if (request.volume_id().empty()) {
    return invalid_argument("request missing required volume id");
  }
  if (request.target_path().empty()) {
    return invalid_argument("request missing required target path");
  }
  if (!request.has_volume_capability()) {
    return invalid_argument("request missing required volume capability");
  }
  if (capability.access_type_case() == v1::VolumeCapability::ACCESS_TYPE_NOT_SET) {
    return invalid_argument("request missing required volume capability access type");
  }
  if (!is_plain_mount(capability)) {
    return invalid_argument("request volume capability access type must be a simple mount");
  }
  if (!capability.has_access_mode()) {
    return invalid_argument("request missing required volume capability access mode");
  }
  if (capability.access_mode().mode() == AccessMode::SINGLE_NODE_READER_ONLY) {
    return invalid_argument("request volume capability access mode is not valid");
  }
  if (!request.readonly()) {
    return invalid_argument("pod.spec.volumes[].csi.readOnly must be set to 'true'");
  }
  if (context == request.volume_context().end() || context->second != "true") {
    return invalid_argument("only ephemeral volumes are supported");
  }
  return {};
}

v1::GetPluginInfoResponse NodeService::plugin_info() const {
  v1::GetPluginInfoResponse response;
  response.set_name(options_.plugin_name);
  response.set_vendor_version(kVersion);
  return response;
}

v1::NodeGetInfoResponse NodeService::node_info() const {
  v1::NodeGetInfoResponse response;
  response.set_node_id(options_.node_id);
  return response;
}

v1::NodeGetCapabilitiesResponse NodeService::capabilities() const {
  using Rpc = v1::NodeServiceCapability::RPC;
  v1::NodeGetCapabilitiesResponse response;
  for (Rpc::Type type : {Rpc::VOLUME_CONDITION, Rpc::GET_VOLUME_STATS}) {
    response.add_capabilities()->mutable_rpc()->set_type(type);
  }
  return response;
}

Result<v1::NodePublishVolumeResponse> NodeService::publish(
    const v1::NodePublishVolumeRequest& request) {
  Logger log =
      log_.with({"volumeID", request.volume_id()}).with({"targetPath", request.target_path()});
  auto fail = [&](Error error) {
    LOG_ERROR(
        log, "Failed to publish volume", {"error", error},
        {"access_mode", AccessMode::Mode_Name(request.volume_capability().access_mode().mode())});
    return error;
  };
  if (auto checked = check_publish(request); !checked.ok()) {
    return fail(std::move(checked.error()));
  }
  Result<bool> before = volumes_.publish(request.target_path());
  if (!before.ok()) {
    return fail(std::move(before.error()));
  }
  if (*before) {
    LOG_INFO(log, "Volume already published");
  } else {
    LOG_INFO(log, "Volume published");
  }
  return v1::NodePublishVolumeResponse();
}

Result<v1::NodeUnpublishVolumeResponse> NodeService::unpublish(
    const v1::NodeUnpublishVolumeRequest& request) {
  Logger log =
      log_.with({"volumeID", request.volume_id()}).with({"targetPath", request.target_path()});
  Result<void> done;
  if (request.volume_id().empty()) {
    done = invalid_argument("request missing required volume id");
  } else if (request.target_path().empty()) {
    done = invalid_argument("request missing required target path");
  } else {
    done = volumes_.unpublish(request.target_path());
  }
  if (!done.ok()) {
    LOG_ERROR(log, "Failed to unpublish volume", {"error", done.error()});
    return std::move(done.error());
  }
  LOG_INFO(log, "Volume unpublished");
  return v1::NodeUnpublishVolumeResponse();
}

Result<v1::NodeGetVolumeStatsResponse> NodeService::stats(
    const v1::NodeGetVolumeStatsRequest& request) {
  // The reference asks for neither; CSI demands both, and an answer for paths that are not there.
  if (request.volume_id().empty()) {
    return invalid_argument("request missing required volume id");
  }
  if (request.volume_path().empty()) {
    return invalid_argument("request missing required volume path");
  }
  Volumes::Condition condition = TRY(volumes_.condition(request.volume_path()));
  Logger log =
      log_.with({"volumeID", request.volume_id()}).with({"volumePath", request.volume_path()});
  if (condition.abnormal) {
    LOG_ERROR(log, "Volume is unhealthy", {"error", condition.message});
  } else {
    LOG_DEBUG(log, "Volume is healthy");  // asked once a minute and volume
  }
  v1::NodeGetVolumeStatsResponse response;
  response.mutable_volume_condition()->set_abnormal(condition.abnormal);
  response.mutable_volume_condition()->set_message(condition.message);
  return response;
}

void serve_csi(rpc::Server& server, NodeService& service, std::function<bool()> ready) {
  rpc::add_unary<v1::GetPluginInfoRequest, v1::GetPluginInfoResponse>(
      server, "/csi.v1.Identity/GetPluginInfo", rpc::Where::kLoop,
      [&service](rpc::CallContext&, const auto&) -> Result<v1::GetPluginInfoResponse> {
        return service.plugin_info();
      });
  rpc::add_unary<v1::GetPluginCapabilitiesRequest, v1::GetPluginCapabilitiesResponse>(
      server, "/csi.v1.Identity/GetPluginCapabilities", rpc::Where::kLoop,
      [](rpc::CallContext&, const auto&) -> Result<v1::GetPluginCapabilitiesResponse> {
        return v1::GetPluginCapabilitiesResponse();
      });
  rpc::add_unary<v1::ProbeRequest, v1::ProbeResponse>(
      server, "/csi.v1.Identity/Probe", rpc::Where::kLoop,
      [ready](rpc::CallContext&, const auto&) -> Result<v1::ProbeResponse> {
        v1::ProbeResponse response;
        if (!ready()) {
          response.mutable_ready()->set_value(false);
        }
        return response;
      });
  rpc::add_unary<v1::NodeGetInfoRequest, v1::NodeGetInfoResponse>(
      server, "/csi.v1.Node/NodeGetInfo", rpc::Where::kLoop,
      [&service](rpc::CallContext&, const auto&) -> Result<v1::NodeGetInfoResponse> {
        return service.node_info();
      });
  rpc::add_unary<v1::NodeGetCapabilitiesRequest, v1::NodeGetCapabilitiesResponse>(
      server, "/csi.v1.Node/NodeGetCapabilities", rpc::Where::kLoop,
      [&service](rpc::CallContext&, const auto&) -> Result<v1::NodeGetCapabilitiesResponse> {
        return service.capabilities();
      });
  add_node<v1::NodePublishVolumeRequest>(
      server, "NodePublishVolume",
      [&service](const v1::NodePublishVolumeRequest& request) { return service.publish(request); });
  add_node<v1::NodeUnpublishVolumeRequest>(
      server, "NodeUnpublishVolume", [&service](const v1::NodeUnpublishVolumeRequest& request) {
        return service.unpublish(request);
      });
  add_node<v1::NodeGetVolumeStatsRequest>(
      server, "NodeGetVolumeStats",
      [&service](const v1::NodeGetVolumeStatsRequest& request) { return service.stats(request); });
  refuse_others(server);
  server.add_health(std::move(ready));
}

void serve_registration(rpc::Server& server, RegistrationOptions options,
                        std::function<void(Result<void>)> on_status) {
  namespace kubelet = ::pluginregistration;
  rpc::add_unary<kubelet::InfoRequest, kubelet::PluginInfo>(
      server, "/pluginregistration.Registration/GetInfo", rpc::Where::kLoop,
      [options = std::move(options)](rpc::CallContext&,
                                     const auto&) -> Result<kubelet::PluginInfo> {
        kubelet::PluginInfo info;
        info.set_type("CSIPlugin");
        info.set_name(options.plugin_name);
        info.set_endpoint(options.endpoint);
        info.add_supported_versions("1.0.0");
        return info;
      });
  rpc::add_unary<kubelet::RegistrationStatus, kubelet::RegistrationStatusResponse>(
      server, "/pluginregistration.Registration/NotifyRegistrationStatus", rpc::Where::kLoop,
      [on_status = std::move(on_status)](
          rpc::CallContext&, const auto& status) -> Result<kubelet::RegistrationStatusResponse> {
        on_status(status.plugin_registered() ? Result<void>()
                                             : Result<void>(unavailable(status.error())));
        return kubelet::RegistrationStatusResponse();
      });
}

}  // namespace steeple::csi
