// SPDX-License-Identifier: Apache-2.0

// Names of API resources and the paths of their objects. Constants for what Steeple uses; others
// are made the same way.

#pragma once

#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace steeple::kube {

struct Resource {
  std::string_view group;  // "" for core
  std::string_view version;
  std::string_view plural;
  std::string_view kind;
  bool namespaced = true;

  std::string api_version() const;  // "v1", "apps/v1"
};

inline constexpr Resource kPods{"", "v1", "pods", "Pod"};
inline constexpr Resource kServices{"", "v1", "services", "Service"};
inline constexpr Resource kEndpoints{"", "v1", "endpoints", "Endpoints"};
inline constexpr Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap"};
inline constexpr Resource kSecrets{"", "v1", "secrets", "Secret"};
inline constexpr Resource kServiceAccounts{"", "v1", "serviceaccounts", "ServiceAccount"};
inline constexpr Resource kEvents{"", "v1", "events", "Event"};
inline constexpr Resource kNodes{"", "v1", "nodes", "Node", false};
inline constexpr Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
inline constexpr Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease"};
inline constexpr Resource kTokenReviews{"authentication.k8s.io", "v1", "tokenreviews",
                                        "TokenReview", false};
inline constexpr Resource kMutatingWebhooks{"admissionregistration.k8s.io", "v1",
                                            "mutatingwebhookconfigurations",
                                            "MutatingWebhookConfiguration", false};
inline constexpr Resource kValidatingWebhooks{"admissionregistration.k8s.io", "v1",
                                              "validatingwebhookconfigurations",
                                              "ValidatingWebhookConfiguration", false};
inline constexpr Resource kApiServices{"apiregistration.k8s.io", "v1", "apiservices", "APIService",
                                       false};
inline constexpr Resource kCustomResourceDefinitions{
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};

// An object, or with an empty name a collection (with an empty name space: of all name spaces).
struct Target {
  Resource resource;
  std::string name_space = {};
  std::string name = {};
  std::string subresource = {};  // "status", "token", ...
};

// "/apis/coordination.k8s.io/v1/namespaces/default/leases/x". Refuses names that could change the
// path.
Result<std::string> target_path(const Target& target);

// A name or value in a query, percent-encoded.
std::string percent_encode(std::string_view text);

}  // namespace steeple::kube
