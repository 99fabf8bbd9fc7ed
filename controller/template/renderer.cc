// SPDX-License-Identifier: Apache-2.0

#include "controller/template/renderer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controller/crd/values.h"
#include "lib/gotemplate/json.h"
#include "lib/gotemplate/kubernetes.h"

namespace steeple::controller {

using gotemplate::Template;
using gotemplate::TypeRef;
using gotemplate::Value;

namespace {

constexpr std::string_view kDefaultParentId =
    "spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}";

TypeRef meta_pointer() {
  static const TypeRef type = gotemplate::types::pointer_to(gotemplate::kubernetes::object_meta());
  return type;
}

TypeRef pod_spec_pointer() {
  static const TypeRef type = gotemplate::types::pointer_to(gotemplate::kubernetes::pod_spec());
  return type;
}

TypeRef node_spec_pointer() {
  static const TypeRef type = gotemplate::types::pointer_to(gotemplate::kubernetes::node_spec());
  return type;
}

// The reference's names, which its error texts show.
TypeRef data_type() {
  static const TypeRef type = gotemplate::types::structure(
      "spireentry.templateData",
      {
          {.name = "TrustDomain", .json = "", .type = gotemplate::types::string},
          {.name = "ClusterName", .json = "", .type = gotemplate::types::string},
          {.name = "ClusterDomain", .json = "", .type = gotemplate::types::string},
          {.name = "PodMeta", .json = "", .type = meta_pointer},
          {.name = "PodSpec", .json = "", .type = pod_spec_pointer},
          {.name = "NodeMeta", .json = "", .type = meta_pointer},
          {.name = "NodeSpec", .json = "", .type = node_spec_pointer},
      });
  return type;
}

void set_id(const spiffe::SpiffeId& id, ::spire::api::types::SPIFFEID* out) {
  out->set_trust_domain(std::string(id.trust_domain_name()));
  out->set_path(std::string(id.path()));
}

void add_selector(Entry& entry, std::string type, std::string value) {
  auto* selector = entry.add_selectors();
  selector->set_type(std::move(type));
  selector->set_value(std::move(value));
}

Result<std::string> execute(const Template& text, const Value& data) {
  return text.execute(data).during("failed to execute template");
}

Entry entry_of_pod(const Pod& pod, const spiffe::SpiffeId& id, const spiffe::SpiffeId& parent) {
  Entry entry;
  set_id(id, entry.mutable_spiffe_id());
  set_id(parent, entry.mutable_parent_id());
  // Always first: no template can widen an entry beyond the pod it was made for.
  add_selector(entry, "k8s", "pod-uid:" + pod.uid);
  return entry;
}

}  // namespace

Renderer::Renderer(Options options, Template parent)
    : options_(std::move(options)),
      parent_(std::move(parent)),
      parent_needs_(Projection::of(parent_)) {}

Result<Renderer> Renderer::make(Options options) {
  bool custom = !options.parent_id_template.empty();
  Template parent = TRY(
      Template::parse(custom ? "customParentIDTemplate" : "defaultParentIDTemplate",
                      custom ? std::string_view(options.parent_id_template) : kDefaultParentId));
  return Renderer(std::move(options), std::move(parent));
}

Result<spiffe::SpiffeId> Renderer::spiffe_id(const Template& text, const Value& data) const {
  std::string rendered = TRY(execute(text, data));
  spiffe::SpiffeId id = TRY(spiffe::SpiffeId::parse(rendered).during("invalid SPIFFE ID"));
  if (!id.member_of(options_.trust_domain)) {
    return invalid_argument(
        fmt::format("invalid SPIFFE ID: expected trust domain \"{}\" but got \"{}\"",
                    options_.trust_domain.name(), id.trust_domain_name()));
  }
  return id;
}

Result<spiffe::SpiffeId> Renderer::parent_id(const Node& node) const {
  Value meta = TRY(gotemplate::from_json_text(node.meta, gotemplate::kubernetes::object_meta()));
  Value spec = TRY(gotemplate::from_json_text(node.spec, gotemplate::kubernetes::node_spec()));
  Value data = Value::pointer(Value::object(
      data_type(), {Value(options_.trust_domain.name()), Value(options_.cluster_name),
                    Value(options_.cluster_domain), Value::nil_of(meta_pointer()),
                    Value::nil_of(pod_spec_pointer()), Value::pointer(std::move(meta)),
                    Value::pointer(std::move(spec))}));
  return spiffe_id(parent_, data).during("failed to render parent ID");
}

Result<Value> Renderer::data(const Pod& pod, const Node& node) const {
  TypeRef meta_type = gotemplate::kubernetes::object_meta();
  Value pod_meta = TRY(gotemplate::from_json_text(pod.meta, meta_type));
  Value pod_spec = TRY(gotemplate::from_json_text(pod.spec, gotemplate::kubernetes::pod_spec()));
  Value node_meta = TRY(gotemplate::from_json_text(node.meta, meta_type));
  Value node_spec = TRY(gotemplate::from_json_text(node.spec, gotemplate::kubernetes::node_spec()));
  return Value::pointer(Value::object(
      data_type(), {Value(options_.trust_domain.name()), Value(options_.cluster_name),
                    Value(options_.cluster_domain), Value::pointer(std::move(pod_meta)),
                    Value::pointer(std::move(pod_spec)), Value::pointer(std::move(node_meta)),
                    Value::pointer(std::move(node_spec))}));
}

Result<Entry> Renderer::pod_entry(const ClusterSpiffeIdSpec& spec, const Pod& pod,
                                  const Value& data, const spiffe::SpiffeId& parent,
                                  const std::vector<std::string>& service_names,
                                  const std::vector<std::string>& federates_with) const {
  spiffe::SpiffeId id = TRY(spiffe_id(spec.spiffe_id, data).during("failed to render SPIFFE ID"));
  Entry entry = entry_of_pod(pod, id, parent);
  std::set<std::string, std::less<>> seen;
  auto add_dns_name = [&](std::string name) {
    if (seen.insert(name).second) {
      entry.add_dns_names(std::move(name));
    }
  };
  for (const Template& text : spec.dns_names) {
    add_dns_name(TRY(execute(text, data).during("failed to render DNS name")));
  }
  for (const std::string& name : service_names) {
    add_dns_name(name);
  }
  for (const Template& text : spec.selectors) {
    std::string rendered = TRY(execute(text, data).during("failed to render workload selector"));
    auto selector = parse_selector(rendered);
    if (!selector.ok()) {
      return std::move(selector.error())
          .during(fmt::format("invalid workload selector \"{}\"", rendered))
          .during("failed to render workload selector");
    }
    add_selector(entry, std::move(selector->first), std::move(selector->second));
  }
  entry.set_x509_svid_ttl(spec.x509_ttl);
  entry.set_jwt_svid_ttl(spec.jwt_ttl);
  for (const std::string& domain : federates_with) {
    entry.add_federates_with(domain);
  }
  entry.set_admin(spec.admin);
  entry.set_downstream(spec.downstream);
  entry.set_hint(spec.hint);
  return entry;
}

Result<Entry> Renderer::annotated_entry(const Pod& pod, const spiffe::SpiffeId& parent) const {
  auto id = pod.spiffe_id.starts_with('/')
                ? spiffe::SpiffeId::make(options_.trust_domain, pod.spiffe_id)
                : spiffe::SpiffeId::parse(pod.spiffe_id);
  if (!id.ok()) {
    return std::move(id.error()).during("invalid SPIFFE ID annotation");
  }
  if (!id->member_of(options_.trust_domain)) {
    return invalid_argument(
        fmt::format("invalid SPIFFE ID annotation: expected trust domain \"{}\" but got \"{}\"",
                    options_.trust_domain.name(), id->trust_domain_name()));
  }
  return entry_of_pod(pod, *id, parent);
}

std::vector<std::string> Renderer::service_names(
    const std::vector<const Endpoints*>& endpoints) const {
  std::vector<std::string> out;
  for (const Endpoints* of : endpoints) {
    out.push_back(of->name);
    out.push_back(fmt::format("{}.{}", of->name, of->name_space));
    out.push_back(fmt::format("{}.{}.svc", of->name, of->name_space));
    if (!options_.cluster_domain.empty()) {
      out.push_back(fmt::format("{}.{}.svc.{}", of->name, of->name_space, options_.cluster_domain));
    }
  }
  std::ranges::sort(out);
  return out;
}

Entry Renderer::static_entry(const ClusterStaticEntrySpec& spec,
                             const std::vector<std::string>& federates_with) {
  Entry entry;
  set_id(spec.spiffe_id, entry.mutable_spiffe_id());
  set_id(spec.parent_id, entry.mutable_parent_id());
  for (const auto& [type, value] : spec.selectors) {
    add_selector(entry, type, value);
  }
  entry.set_x509_svid_ttl(spec.x509_ttl);
  entry.set_jwt_svid_ttl(spec.jwt_ttl);
  for (const std::string& domain : federates_with) {
    entry.add_federates_with(domain);
  }
  for (const std::string& name : spec.dns_names) {
    entry.add_dns_names(name);
  }
  entry.set_hint(spec.hint);
  entry.set_admin(spec.admin);
  entry.set_downstream(spec.downstream);
  entry.set_store_svid(spec.store_svid);
  return entry;
}

Projection needs_of(const ClusterSpiffeIdSpec& spec) {
  Projection out = Projection::of(spec.spiffe_id);
  for (const Template& text : spec.dns_names) {
    out.add(Projection::of(text));
  }
  for (const Template& text : spec.selectors) {
    out.add(Projection::of(text));
  }
  return out;
}

}  // namespace steeple::controller
