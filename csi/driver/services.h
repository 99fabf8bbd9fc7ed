// SPDX-License-Identifier: Apache-2.0

// The CSI services Identity and Node as functions of their requests, and the kubelet's Registration
// service, by which the driver makes itself known. Every refusal has the reference's words.
// Handlers run on the driver's one worker, those of Registration on the loop.

#pragma once

#include <functional>
#include <string>

#include "csi/driver/volumes.h"
#include "csi/v1/csi.pb.h"
#include "lib/base/result.h"
#include "lib/rpc/server.h"

namespace steeple::csi {

inline constexpr const char* kVersion = "0.2.12";  // the release of spiffe-csi that this matches

namespace v1 = ::csi::v1;

struct ServiceOptions {
  std::string node_id;
  std::string plugin_name;
};

class NodeService {
 public:
  NodeService(Volumes& volumes, Logger log, ServiceOptions options)
      : volumes_(volumes), log_(std::move(log)), options_(std::move(options)) {}

  v1::GetPluginInfoResponse plugin_info() const;
  v1::NodeGetInfoResponse node_info() const;
  v1::NodeGetCapabilitiesResponse capabilities() const;
  Result<v1::NodePublishVolumeResponse> publish(const v1::NodePublishVolumeRequest& request);
  Result<v1::NodeUnpublishVolumeResponse> unpublish(const v1::NodeUnpublishVolumeRequest& request);
  Result<v1::NodeGetVolumeStatsResponse> stats(const v1::NodeGetVolumeStatsRequest& request);

 private:
  Volumes& volumes_;
  const Logger log_;
  const ServiceOptions options_;
};

// What is wrong with the request, if anything.
Result<void> check_publish(const v1::NodePublishVolumeRequest& request);

// `ready` answers Probe and grpc.health.v1; on the loop. The service must outlive the server.
void serve_csi(rpc::Server& server, NodeService& service, std::function<bool()> ready);

// What the kubelet is told, and what it tells: an empty error means registered. On the loop.
struct RegistrationOptions {
  std::string plugin_name;
  std::string endpoint;  // the CSI socket as the kubelet sees it
};
void serve_registration(rpc::Server& server, RegistrationOptions options,
                        std::function<void(Result<void>)> on_status);

}  // namespace steeple::csi
