// SPDX-License-Identifier: Apache-2.0

#include "controller/crd/cluster_static_entry.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "controller/config/fields.h"
#include "controller/crd/values.h"
#include "lib/kube/json.h"

namespace steeple::controller {

namespace {

Result<ClusterStaticEntrySpec> read_spec(const nlohmann::json* object, std::string& class_name,
                                         Findings& findings) {
  Fields spec(object, "spec", findings);
  std::string spiffe_id, parent_id;
  std::vector<std::string> selectors, federates_with, dns_names;
  spec.read("className", class_name);
  spec.read("spiffeID", spiffe_id);
  spec.read("parentID", parent_id);
  spec.read("selectors", selectors);
  spec.read("federatesWith", federates_with);
  spec.read("dnsNames", dns_names);
  std::string hint;
  bool admin = false, downstream = false, store_svid = false;
  spec.read("hint", hint);
  spec.read("admin", admin);
  spec.read("downstream", downstream);
  spec.read("storeSVID", store_svid);
  std::int32_t x509_ttl = read_ttl(spec, "x509SVIDTTL");
  std::int32_t jwt_ttl = read_ttl(spec, "jwtSVIDTTL");
  auto id = spiffe::SpiffeId::parse(spiffe_id);
  if (!id.ok()) {
    findings.problems.push_back("failed to parse SPIFFEID: " + id.error().message);
  }
  auto parent = spiffe::SpiffeId::parse(parent_id);
  if (!parent.ok()) {
    findings.problems.push_back("failed to parse ParentID: " + parent.error().message);
  }
  std::vector<std::pair<std::string, std::string>> parsed_selectors;
  for (const std::string& text : selectors) {
    auto parsed = parse_selector(text);
    if (parsed.ok()) {
      parsed_selectors.push_back(std::move(*parsed));
    } else {
      findings.problems.push_back("failed to parse Selectors: " + parsed.error().message);
    }
  }
  if (selectors.empty()) {
    findings.problem("spec.selectors", "at least one selector is required");
  }
  std::vector<std::string> domains = check_trust_domains(federates_with, findings);
  TRY(findings.result());
  return ClusterStaticEntrySpec{.spiffe_id = std::move(*id),
                                .parent_id = std::move(*parent),
                                .selectors = std::move(parsed_selectors),
                                .federates_with = std::move(domains),
                                .x509_ttl = x509_ttl,
                                .jwt_ttl = jwt_ttl,
                                .dns_names = std::move(dns_names),
                                .hint = std::move(hint),
                                .admin = admin,
                                .downstream = downstream,
                                .store_svid = store_svid};
}

}  // namespace

ClusterStaticEntry parse_cluster_static_entry(const nlohmann::json& object,
                                              std::vector<std::string>* unknown) {
  Findings findings;
  std::string class_name;
  Result<ClusterStaticEntrySpec> spec =
      read_spec(kube::find(object, {"spec"}), class_name, findings);
  if (unknown != nullptr) {
    *unknown = std::move(findings.unknown);
  }
  return {ObjectMeta::of(object), std::move(class_name), std::move(spec)};
}

}  // namespace steeple::controller
