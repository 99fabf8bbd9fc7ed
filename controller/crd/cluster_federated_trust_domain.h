// SPDX-License-Identifier: Apache-2.0

// ClusterFederatedTrustDomain: a federation relationship of the server. Immutable; any thread.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "controller/crd/object_meta.h"
#include "lib/base/result.h"
#include "lib/jose/bundle.h"
#include "spiffe/spiffe_id.h"

namespace steeple::controller {

struct ClusterFederatedTrustDomainSpec {
  spiffe::TrustDomain trust_domain;
  std::string endpoint_url;
  std::optional<spiffe::SpiffeId> endpoint_id = {};  // set: https_spiffe, else https_web
  std::optional<jose::Bundle> bundle = {};
};

struct ClusterFederatedTrustDomain {
  ObjectMeta meta;
  std::string class_name;
  Result<ClusterFederatedTrustDomainSpec> spec;
};

ClusterFederatedTrustDomain parse_cluster_federated_trust_domain(
    const nlohmann::json& object, std::vector<std::string>* unknown = nullptr);

// https, a host, no user information. Error texts are the reference's.
Result<void> check_bundle_endpoint_url(std::string_view url);

}  // namespace steeple::controller
