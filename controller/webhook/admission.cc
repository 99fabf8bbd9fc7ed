// SPDX-License-Identifier: Apache-2.0

#include "controller/webhook/admission.h"

#include <nlohmann/json.hpp>

#include "controller/crd/cluster_federated_trust_domain.h"
#include "controller/crd/cluster_spiffe_id.h"
#include "controller/crd/cluster_static_entry.h"
#include "lib/kube/json.h"

namespace steeple::controller {

using nlohmann::json;

namespace {

constexpr std::string_view kReviewVersion = "admission.k8s.io/v1";

template <class Spec>
Result<void> verdict(const Result<Spec>& spec) {
  if (spec.ok()) {
    return {};
  }
  return spec.error();
}

}  // namespace

Result<void> validate_cluster_spiffe_id(const json& object, std::vector<std::string>& unknown) {
  return verdict(parse_cluster_spiffe_id(object, &unknown).spec);
}

Result<void> validate_cluster_static_entry(const json& object, std::vector<std::string>& unknown) {
  return verdict(parse_cluster_static_entry(object, &unknown).spec);
}

Result<void> validate_cluster_federated_trust_domain(const json& object,
                                                     std::vector<std::string>& unknown) {
  return verdict(parse_cluster_federated_trust_domain(object, &unknown).spec);
}

Result<Bytes> answer_review(ByteView body, const Validate& validate) {
  json review = TRY(kube::parse_object(body, kReviewBytesMax, false));
  if (kube::view_at(review, {"kind"}) != "AdmissionReview" ||
      kube::view_at(review, {"apiVersion"}) != kReviewVersion) {
    return invalid_argument("not an AdmissionReview of admission.k8s.io/v1");
  }
  std::string uid = kube::string_at(review, {"request", "uid"});
  if (uid.empty()) {
    return invalid_argument("the review has no request with a uid");
  }
  json response{{"uid", uid}, {"allowed", true}};
  std::string_view operation = kube::view_at(review, {"request", "operation"});
  if (operation == "CREATE" || operation == "UPDATE") {
    const json* object = kube::find(review, {"request", "object"});
    if (object == nullptr || !object->is_object()) {
      return invalid_argument("the review has no object");
    }
    std::vector<std::string> unknown;
    if (Result<void> valid = validate(*object, unknown); !valid.ok()) {
      response["allowed"] = false;
      response["status"] = {{"code", 403},
                            {"status", "Failure"},
                            {"reason", "Forbidden"},
                            {"message", valid.error().message}};
    }
    for (const std::string& path : unknown) {
      response["warnings"].push_back("unknown field \"" + path + "\"");
    }
  }
  json answer{{"apiVersion", kReviewVersion}, {"kind", "AdmissionReview"}, {"response", response}};
  return answer.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace steeple::controller
