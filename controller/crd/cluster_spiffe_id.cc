// SPDX-License-Identifier: Apache-2.0

#include "controller/crd/cluster_spiffe_id.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "controller/config/fields.h"
#include "controller/crd/values.h"
#include "lib/kube/json.h"

namespace steeple::controller {

using nlohmann::json;

namespace {

kube::LabelSelector read_labels(const json& selector, const std::string& path, Findings& findings) {
  Result<kube::LabelSelector> parsed = kube::LabelSelector::parse(selector);
  if (!parsed.ok()) {
    findings.problem(path, parsed.error().message);
    return {};
  }
  return std::move(*parsed);
}

NamespaceSelector read_namespaces(Fields& spec) {
  NamespaceSelector out;
  const json* given = spec.object("namespaceSelector");
  if (given == nullptr) {
    return out;
  }
  json labels = *given;
  auto names = labels.find("matchNames");
  if (names != labels.end()) {
    json only{{"matchNames", *names}};
    Fields fields(&only, spec.path_of("namespaceSelector"), spec.findings());
    out.names.emplace();
    fields.read("matchNames", *out.names);
    std::ranges::sort(*out.names);
    labels.erase(names);
  }
  out.labels = read_labels(labels, spec.path_of("namespaceSelector"), spec.findings());
  return out;
}

// Go's texts, which users and their scripts know.
void parse_into(std::vector<gotemplate::Template>& out, std::string_view name,
                const std::vector<std::string>& texts, std::string_view problem,
                Findings& findings) {
  for (const std::string& text : texts) {
    Result<gotemplate::Template> parsed = gotemplate::Template::parse(name, text);
    if (parsed.ok()) {
      out.push_back(std::move(*parsed));
    } else {
      findings.problems.push_back(fmt::format("{}: {}", problem, parsed.error().message));
    }
  }
}

Result<ClusterSpiffeIdSpec> read_spec(const json* object, std::string& class_name,
                                      Findings& findings) {
  Fields spec(object, "spec", findings);
  std::string id_text;
  std::vector<std::string> dns_names, selectors, federates_with;
  spec.read("className", class_name);
  spec.read("spiffeIDTemplate", id_text);
  spec.read("dnsNameTemplates", dns_names);
  spec.read("workloadSelectorTemplates", selectors);
  spec.read("federatesWith", federates_with);
  std::int32_t ttl = read_ttl(spec, "ttl");
  std::int32_t jwt_ttl = read_ttl(spec, "jwtTtl");
  if (id_text.empty()) {
    findings.problems.emplace_back("empty SPIFFEID template");
  }
  std::vector<gotemplate::Template> id;
  parse_into(id, "spiffeIDTemplate", {id_text}, "invalid SPIFFEID template", findings);
  std::vector<gotemplate::Template> dns, of_selectors;
  parse_into(dns, "dnsNameTemplate", dns_names, "invalid dnsNameTemplate value", findings);
  parse_into(of_selectors, "workloadSelectorTemplate", selectors,
             "invalid workloadSelectorTemplates value", findings);
  std::vector<std::string> domains = check_trust_domains(federates_with, findings);
  NamespaceSelector namespaces = read_namespaces(spec);
  kube::LabelSelector pods;
  if (const json* given = spec.object("podSelector")) {
    pods = read_labels(*given, spec.path_of("podSelector"), findings);
  }
  bool admin = false, downstream = false, service_dns_names = false, fallback = false;
  std::string hint;
  spec.read("admin", admin);
  spec.read("downstream", downstream);
  spec.read("autoPopulateDNSNames", service_dns_names);
  spec.read("fallback", fallback);
  spec.read("hint", hint);
  TRY(findings.result());
  return ClusterSpiffeIdSpec{.spiffe_id = std::move(id.front()),
                             .dns_names = std::move(dns),
                             .selectors = std::move(of_selectors),
                             .x509_ttl = ttl,
                             .jwt_ttl = jwt_ttl,
                             .federates_with = std::move(domains),
                             .namespaces = std::move(namespaces),
                             .pods = std::move(pods),
                             .admin = admin,
                             .downstream = downstream,
                             .service_dns_names = service_dns_names,
                             .fallback = fallback,
                             .hint = std::move(hint)};
}

}  // namespace

bool NamespaceSelector::matches(const std::string& name, const kube::Labels& of) const {
  return (!names || std::ranges::binary_search(*names, name)) && labels.matches(of);
}

ClusterSpiffeId parse_cluster_spiffe_id(const json& object, std::vector<std::string>* unknown) {
  Findings findings;
  std::string class_name;
  Result<ClusterSpiffeIdSpec> spec = read_spec(kube::find(object, {"spec"}), class_name, findings);
  if (unknown != nullptr) {
    *unknown = std::move(findings.unknown);
  }
  return {ObjectMeta::of(object), std::move(class_name), std::move(spec)};
}

}  // namespace steeple::controller
