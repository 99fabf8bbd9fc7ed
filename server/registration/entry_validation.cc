// SPDX-License-Identifier: Apache-2.0

#include "server/registration/entry_validation.h"

#include <fmt/format.h>

#include "lib/base/limits.h"

namespace steeple::server {
namespace {

using Proto = spire::api::types::Entry;
using ProtoMask = spire::api::types::EntryMask;

const ProtoMask& all_fields() {
  static const ProtoMask mask = [] {
    ProtoMask all;
    all.set_spiffe_id(true);
    all.set_parent_id(true);
    all.set_selectors(true);
    all.set_x509_svid_ttl(true);
    all.set_federates_with(true);
    all.set_admin(true);
    all.set_downstream(true);
    all.set_expires_at(true);
    all.set_dns_names(true);
    all.set_revision_number(true);
    all.set_store_svid(true);
    all.set_jwt_svid_ttl(true);
    all.set_hint(true);
    all.set_created_at(true);
    all.set_additional_attributes(true);
    return all;
  }();
  return mask;
}

Result<spiffe::SpiffeId> id_from_proto(const spire::api::types::SPIFFEID* proto) {
  if (proto == nullptr) {
    return invalid_argument("request must specify SPIFFE ID");
  }
  auto domain = TRY(spiffe::TrustDomain::parse(proto->trust_domain()));
  return spiffe::SpiffeId::make(domain, proto->path());
}

bool reserved_path(std::string_view path) {
  return path == "/spire" || path.starts_with("/spire/");
}

Result<spiffe::SpiffeId> workload_id_from_proto(const spiffe::TrustDomain& domain,
                                                const spire::api::types::SPIFFEID* proto) {
  auto id = TRY(id_from_proto(proto));
  if (!id.member_of(domain)) {
    return invalid_argument(
        fmt::format("\"{}\" is not a member of trust domain \"{}\"", id.text(), domain.name()));
  }
  if (id.path().empty()) {
    return invalid_argument(
        fmt::format("\"{}\" is not a workload in trust domain \"{}\"; path is empty", id.text(),
                    domain.name()));
  }
  if (reserved_path(id.path())) {
    return invalid_argument(fmt::format(
        "\"{}\" is not a workload in trust domain \"{}\"; path is in the reserved namespace",
        id.text(), domain.name()));
  }
  return id;
}

Result<std::vector<spiffe::TrustDomain>> federates_with_from_proto(const Proto& proto) {
  std::vector<spiffe::TrustDomain> domains;
  for (const std::string& name : proto.federates_with()) {
    domains.push_back(
        TRY(spiffe::TrustDomain::parse(name).during("invalid federated trust domain")));
  }
  return domains;
}

Result<std::vector<std::string>> dns_names_from_proto(const Proto& proto) {
  std::vector<std::string> names;
  for (const std::string& name : proto.dns_names()) {
    TRY(validate_dns_name(name).during("invalid DNS name"));
    names.push_back(name);
  }
  return names;
}

// The fields that need checking.
Result<void> read_checked(const Proto& proto, const ProtoMask& mask, Entry& entry) {
  if (mask.dns_names()) {
    entry.dns_names = TRY(dns_names_from_proto(proto));
  }
  if (mask.federates_with()) {
    entry.federates_with = TRY(federates_with_from_proto(proto));
  }
  if (mask.selectors()) {
    if (proto.selectors().empty()) {
      return invalid_argument("selector list is empty");
    }
    entry.selectors = TRY(selectors_from_proto(proto.selectors()));
  }
  if (mask.hint()) {
    if (proto.hint().size() > limits::kHintBytesMax) {
      return invalid_argument(
          fmt::format("hint is too long, max length is {} characters", limits::kHintBytesMax));
    }
    entry.hint = proto.hint();
  }
  return {};
}

void read_plain(const Proto& proto, const ProtoMask& mask, Entry& entry) {
  entry.id = proto.id();
  entry.admin = mask.admin() && proto.admin();
  entry.downstream = mask.downstream() && proto.downstream();
  entry.store_svid = mask.store_svid() && proto.store_svid();
  entry.expires_at = mask.expires_at() ? proto.expires_at() : 0;
  entry.x509_svid_ttl = std::chrono::seconds(mask.x509_svid_ttl() ? proto.x509_svid_ttl() : 0);
  entry.jwt_svid_ttl = std::chrono::seconds(mask.jwt_svid_ttl() ? proto.jwt_svid_ttl() : 0);
  if (mask.additional_attributes()) {
    const auto& attributes = proto.additional_attributes();
    entry.disable_x509_svid_prefetch = attributes.disable_x509_svid_prefetch();
    entry.jwt_svid_include_jti = attributes.jwt_svid_include_jti();
  }
}

Result<Entry> read_entry(const spiffe::TrustDomain& domain, const Proto& proto,
                         const ProtoMask& mask) {
  // Fields outside the mask hold the trust domain's own ID; nobody reads them.
  Entry entry{.spiffe_id = domain.id(), .parent_id = domain.id()};
  if (mask.parent_id()) {
    entry.parent_id =
        TRY(member_id_from_proto(domain, proto.has_parent_id() ? &proto.parent_id() : nullptr)
                .during("invalid parent ID"));
  }
  if (mask.spiffe_id()) {
    entry.spiffe_id =
        TRY(workload_id_from_proto(domain, proto.has_spiffe_id() ? &proto.spiffe_id() : nullptr)
                .during("invalid spiffe ID"));
  }
  TRY(read_checked(proto, mask, entry));
  read_plain(proto, mask, entry);
  return entry;
}

void id_to_proto(const spiffe::SpiffeId& id, spire::api::types::SPIFFEID& proto) {
  proto.set_trust_domain(std::string(id.trust_domain_name()));
  proto.set_path(std::string(id.path()));
}

void lists_to_proto(const Entry& entry, const ProtoMask& mask, Proto& proto) {
  if (mask.selectors()) {
    for (const Selector& selector : entry.selectors) {
      auto& out = *proto.add_selectors();
      out.set_type(selector.type);
      out.set_value(selector.value);
    }
  }
  if (mask.federates_with()) {
    for (const auto& domain : entry.federates_with) {
      proto.add_federates_with(domain.name());
    }
  }
  if (mask.dns_names()) {
    for (const std::string& name : entry.dns_names) {
      proto.add_dns_names(name);
    }
  }
}

}  // namespace

Result<Entry> entry_from_proto(const spiffe::TrustDomain& domain, const Proto& proto) {
  return read_entry(domain, proto, all_fields());
}

Result<EntryChange> entry_change_from_proto(const spiffe::TrustDomain& domain, const Proto& proto,
                                            const ProtoMask* mask) {
  const ProtoMask& fields = mask == nullptr ? all_fields() : *mask;
  Entry entry = TRY(read_entry(domain, proto, fields));
  EntryChange change{std::move(entry), EntryMask::none()};
  change.mask.spiffe_id = fields.spiffe_id();
  change.mask.parent_id = fields.parent_id();
  change.mask.selectors = fields.selectors();
  change.mask.x509_svid_ttl = fields.x509_svid_ttl();
  change.mask.jwt_svid_ttl = fields.jwt_svid_ttl();
  change.mask.federates_with = fields.federates_with();
  change.mask.dns_names = fields.dns_names();
  change.mask.admin = fields.admin();
  change.mask.downstream = fields.downstream();
  change.mask.store_svid = fields.store_svid();
  change.mask.hint = fields.hint();
  change.mask.expires_at = fields.expires_at();
  change.mask.additional_attributes = fields.additional_attributes();
  return change;
}

void entry_to_proto(const Entry& entry, const ProtoMask* mask, Proto& proto) {
  const ProtoMask& fields = mask == nullptr ? all_fields() : *mask;
  proto.set_id(entry.id);
  if (fields.spiffe_id()) {
    id_to_proto(entry.spiffe_id, *proto.mutable_spiffe_id());
  }
  if (fields.parent_id()) {
    id_to_proto(entry.parent_id, *proto.mutable_parent_id());
  }
  lists_to_proto(entry, fields, proto);
  proto.set_admin(fields.admin() && entry.admin);
  proto.set_downstream(fields.downstream() && entry.downstream);
  proto.set_store_svid(fields.store_svid() && entry.store_svid);
  proto.set_expires_at(fields.expires_at() ? entry.expires_at : 0);
  proto.set_revision_number(fields.revision_number() ? entry.revision_number : 0);
  proto.set_created_at(fields.created_at() ? entry.created_at : 0);
  if (fields.x509_svid_ttl()) {
    proto.set_x509_svid_ttl(static_cast<std::int32_t>(entry.x509_svid_ttl.count()));
  }
  if (fields.jwt_svid_ttl()) {
    proto.set_jwt_svid_ttl(static_cast<std::int32_t>(entry.jwt_svid_ttl.count()));
  }
  if (fields.hint()) {
    proto.set_hint(entry.hint);
  }
  if (fields.additional_attributes() &&
      (entry.disable_x509_svid_prefetch || entry.jwt_svid_include_jti)) {
    auto& attributes = *proto.mutable_additional_attributes();
    attributes.set_disable_x509_svid_prefetch(entry.disable_x509_svid_prefetch);
    attributes.set_jwt_svid_include_jti(entry.jwt_svid_include_jti);
  }
}

Result<std::vector<Selector>> selectors_from_proto(
    const google::protobuf::RepeatedPtrField<spire::api::types::Selector>& proto) {
  std::vector<Selector> selectors;
  selectors.reserve(static_cast<std::size_t>(proto.size()));
  for (const auto& selector : proto) {
    if (selector.type().empty()) {
      return invalid_argument("missing selector type");
    }
    if (selector.type().find(':') != std::string::npos) {
      return invalid_argument("selector type contains ':'");
    }
    if (selector.value().empty()) {
      return invalid_argument("missing selector value");
    }
    selectors.push_back({selector.type(), selector.value()});
  }
  return selectors;
}

Result<spiffe::SpiffeId> member_id_from_proto(const spiffe::TrustDomain& domain,
                                              const spire::api::types::SPIFFEID* proto) {
  auto id = TRY(id_from_proto(proto));
  if (!id.member_of(domain)) {
    return invalid_argument(
        fmt::format("\"{}\" is not a member of trust domain \"{}\"", id.text(), domain.name()));
  }
  if (id.path().empty()) {
    return invalid_argument(fmt::format(
        "\"{}\" is not a member of trust domain \"{}\"; path is empty", id.text(), domain.name()));
  }
  return id;
}

}  // namespace steeple::server
