// SPDX-License-Identifier: Apache-2.0

// AdmissionReview (admission.k8s.io/v1): the question of the API server whether an object may be
// stored, and our answer. Pure functions; any thread.

#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"

namespace steeple::controller {

inline constexpr std::size_t kReviewBytesMax = std::size_t{4} << 20;

// An error refuses the object; `unknown` gets members that we do not know, which only warn.
using Validate =
    std::function<Result<void>(const nlohmann::json& object, std::vector<std::string>& unknown)>;

Result<void> validate_cluster_spiffe_id(const nlohmann::json& object,
                                        std::vector<std::string>& unknown);
Result<void> validate_cluster_static_entry(const nlohmann::json& object,
                                           std::vector<std::string>& unknown);
Result<void> validate_cluster_federated_trust_domain(const nlohmann::json& object,
                                                     std::vector<std::string>& unknown);

// The body of the answer; an error when the question makes no sense (HTTP 400). Only creations and
// updates are looked at.
Result<Bytes> answer_review(ByteView body, const Validate& validate);

}  // namespace steeple::controller
