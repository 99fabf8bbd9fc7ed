// SPDX-License-Identifier: Apache-2.0

#include "controller/crd/cluster_federated_trust_domain.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "controller/config/fields.h"
#include "lib/jose/bundle_document.h"
#include "lib/kube/json.h"

namespace steeple::controller {

namespace {

constexpr std::size_t kUrlBytesMax = 2048;

Result<ClusterFederatedTrustDomainSpec> read_spec(const nlohmann::json* object,
                                                  std::string& class_name, Findings& findings) {
  Fields spec(object, "spec", findings);
  std::string domain, url, bundle_text, type, endpoint;
  spec.read("className", class_name);
  spec.read("trustDomain", domain);
  spec.read("bundleEndpointURL", url);
  spec.read("trustDomainBundle", bundle_text);
  {
    Fields profile(spec.object("bundleEndpointProfile"), spec.path_of("bundleEndpointProfile"),
                   findings);
    profile.read("type", type);
    profile.read("endpointSPIFFEID", endpoint);
  }
  auto trust_domain = spiffe::TrustDomain::parse(domain);
  if (!trust_domain.ok()) {
    findings.problems.push_back("invalid trustDomain value: " + trust_domain.error().message);
  }
  if (auto checked = check_bundle_endpoint_url(url); !checked.ok()) {
    findings.problems.push_back("invalid bundleEndpointURL value: " + checked.error().message);
  }
  std::optional<spiffe::SpiffeId> endpoint_id;
  if (type == "https_web") {
    if (!endpoint.empty()) {
      findings.problems.emplace_back(
          "invalid bundle endpoint profile endpointSPIFFEID value: not applicable to the "
          "\"https_web\" profile");
    }
  } else if (type == "https_spiffe") {
    auto parsed = spiffe::SpiffeId::parse(endpoint);
    if (parsed.ok()) {
      endpoint_id = std::move(*parsed);
    } else {
      findings.problems.push_back("invalid bundle endpoint profile endpointSPIFFEID value: " +
                                  parsed.error().message);
    }
  } else {
    findings.problems.push_back(
        fmt::format("invalid bundle endpoint profile type value \"{}\"", type));
  }
  std::optional<jose::Bundle> bundle;
  if (!bundle_text.empty() && trust_domain.ok()) {
    auto parsed = jose::parse_bundle_document(*trust_domain, bundle_text);
    if (parsed.ok()) {
      bundle = std::move(*parsed);
    } else {
      findings.problems.push_back("invalid trustDomainBundle value: " + parsed.error().message);
    }
  }
  TRY(findings.result());
  return ClusterFederatedTrustDomainSpec{.trust_domain = std::move(*trust_domain),
                                         .endpoint_url = std::move(url),
                                         .endpoint_id = std::move(endpoint_id),
                                         .bundle = std::move(bundle)};
}

}  // namespace

Result<void> check_bundle_endpoint_url(std::string_view url) {
  constexpr std::string_view kScheme = "https://";
  if (url.empty()) {
    return invalid_argument("bundle endpoint URL is missing");
  }
  if (url.size() > kUrlBytesMax) {
    return invalid_argument(fmt::format("longer than {} bytes", kUrlBytesMax));
  }
  for (char c : url) {
    if (c <= ' ' || c == 0x7f) {
      return invalid_argument("contains a space or a control character");
    }
  }
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::string scheme(url.substr(0, kScheme.size()));
  std::ranges::transform(scheme, scheme.begin(), lower);
  if (scheme != kScheme) {
    return invalid_argument("scheme must be https");
  }
  std::string_view authority = url.substr(kScheme.size());
  authority = authority.substr(0, authority.find_first_of("/?#"));
  if (authority.contains('@')) {
    return invalid_argument("cannot contain userinfo");
  }
  if (authority.empty() || authority.starts_with(':')) {
    return invalid_argument("host must be specified");
  }
  return {};
}

ClusterFederatedTrustDomain parse_cluster_federated_trust_domain(
    const nlohmann::json& object, std::vector<std::string>* unknown) {
  Findings findings;
  std::string class_name;
  Result<ClusterFederatedTrustDomainSpec> spec =
      read_spec(kube::find(object, {"spec"}), class_name, findings);
  if (unknown != nullptr) {
    *unknown = std::move(findings.unknown);
  }
  return {ObjectMeta::of(object), std::move(class_name), std::move(spec)};
}

}  // namespace steeple::controller
