// SPDX-License-Identifier: Apache-2.0

#include "server/api/convert.h"

#include <fmt/format.h>

#include "lib/crypto/public_key.h"
#include "lib/x509/certificate.h"

namespace steeple::server {
namespace {

using spire::api::types::SPIFFEID;

constexpr std::string_view kReserved = "/spire";
constexpr std::string_view kAgents = "/spire/agent/";

bool reserved(std::string_view path) {
  return path == kReserved || (path.starts_with(kReserved) && path.size() > kReserved.size() &&
                               path[kReserved.size()] == '/');
}

Error not_member(const spiffe::SpiffeId& id, const spiffe::TrustDomain& domain) {
  return invalid_argument(
      fmt::format("\"{}\" is not a member of trust domain \"{}\"", id.text(), domain.name()));
}

}  // namespace

Result<spiffe::SpiffeId> id_from_proto(const SPIFFEID* proto) {
  if (proto == nullptr) {
    return invalid_argument("request must specify SPIFFE ID");
  }
  auto domain = TRY(spiffe::TrustDomain::parse(proto->trust_domain()));
  return spiffe::SpiffeId::make(domain, proto->path());
}

Result<spiffe::SpiffeId> agent_id_from_proto(const spiffe::TrustDomain& domain,
                                             const SPIFFEID* proto) {
  auto id = TRY(id_from_proto(proto));
  if (!id.member_of(domain)) {
    return not_member(id, domain);
  }
  if (id.path().empty()) {
    return invalid_argument(fmt::format(
        "\"{}\" is not an agent in trust domain \"{}\"; path is empty", id.text(), domain.name()));
  }
  if (!id.path().starts_with(kAgents)) {
    return invalid_argument(
        fmt::format("\"{}\" is not an agent in trust domain \"{}\"; path is not in the agent "
                    "namespace",
                    id.text(), domain.name()));
  }
  return id;
}

Result<void> check_workload_id(const spiffe::TrustDomain& domain, const spiffe::SpiffeId& id) {
  if (!id.member_of(domain)) {
    return not_member(id, domain);
  }
  if (id.path().empty()) {
    return invalid_argument(
        fmt::format("\"{}\" is not a workload in trust domain \"{}\"; path is empty", id.text(),
                    domain.name()));
  }
  if (reserved(id.path())) {
    return invalid_argument(
        fmt::format("\"{}\" is not a workload in trust domain \"{}\"; path is in the reserved "
                    "namespace",
                    id.text(), domain.name()));
  }
  return {};
}

Result<spiffe::SpiffeId> workload_id_from_proto(const spiffe::TrustDomain& domain,
                                                const SPIFFEID* proto) {
  auto id = TRY(id_from_proto(proto));
  TRY(check_workload_id(domain, id));
  return id;
}

void id_to_proto(const spiffe::SpiffeId& id, SPIFFEID& proto) {
  proto.set_trust_domain(std::string(id.trust_domain_name()));
  proto.set_path(std::string(id.path()));
}

Result<jose::JwtAuthority> jwt_authority_from_proto(const spire::api::types::JWTKey& proto) {
  TRY(crypto::PublicKey::from_spki(proto.public_key()));
  if (proto.key_id().empty()) {
    return invalid_argument("missing key ID");
  }
  return jose::JwtAuthority{.spki_der = proto.public_key(),
                            .key_id = proto.key_id(),
                            .expires_at = from_unix_seconds(proto.expires_at()),
                            .tainted = false};
}

Result<std::vector<jose::X509Authority>> x509_authorities_from_proto(
    const google::protobuf::RepeatedPtrField<spire::api::types::X509Certificate>& proto) {
  std::vector<jose::X509Authority> out;
  for (const auto& certificate : proto) {
    TRY(x509::Certificate::parse(certificate.asn1()));
    out.push_back({.der = certificate.asn1(), .tainted = false});
  }
  return out;
}

Result<jose::Bundle> bundle_from_proto(const spire::api::types::Bundle& proto) {
  auto domain =
      TRY(spiffe::TrustDomain::parse(proto.trust_domain()).during("invalid trust domain"));
  jose::Bundle bundle{.trust_domain = std::move(domain)};
  bundle.x509_authorities = TRY(x509_authorities_from_proto(proto.x509_authorities())
                                    .during("unable to parse X.509 authority"));
  for (const auto& key : proto.jwt_authorities()) {
    bundle.jwt_authorities.push_back(
        TRY(jwt_authority_from_proto(key).during("unable to parse JWT authority")));
  }
  bundle.sequence_number = proto.sequence_number();
  bundle.refresh_hint = seconds_within_limits(proto.refresh_hint());
  return bundle;
}

void bundle_to_proto(const jose::Bundle& bundle, const spire::api::types::BundleMask* mask,
                     spire::api::types::Bundle& proto) {
  proto.set_trust_domain(bundle.trust_domain.name());
  if (mask == nullptr || mask->refresh_hint()) {
    proto.set_refresh_hint(
        std::chrono::duration_cast<std::chrono::seconds>(bundle.refresh_hint).count());
  }
  if (mask == nullptr || mask->sequence_number()) {
    proto.set_sequence_number(bundle.sequence_number);
  }
  if (mask == nullptr || mask->x509_authorities()) {
    for (const auto& authority : bundle.x509_authorities) {
      auto* out = proto.add_x509_authorities();
      out->set_asn1(authority.der);
      out->set_tainted(authority.tainted);
    }
  }
  if (mask == nullptr || mask->jwt_authorities()) {
    for (const auto& authority : bundle.jwt_authorities) {
      auto* out = proto.add_jwt_authorities();
      out->set_public_key(authority.spki_der);
      out->set_key_id(authority.key_id);
      out->set_expires_at(to_unix_seconds(authority.expires_at));
      out->set_tainted(authority.tainted);
    }
  }
}

void agent_to_proto(const AttestedNode& node, const spire::api::types::AgentMask* mask,
                    spire::api::types::Agent& proto) {
  id_to_proto(node.spiffe_id, *proto.mutable_id());
  if (mask == nullptr || mask->attestation_type()) {
    proto.set_attestation_type(node.attestation_type);
  }
  if (mask == nullptr || mask->x509svid_serial_number()) {
    proto.set_x509svid_serial_number(node.serial);
  }
  if (mask == nullptr || mask->x509svid_expires_at()) {
    proto.set_x509svid_expires_at(node.not_after);
  }
  if (mask == nullptr || mask->selectors()) {
    for (const Selector& selector : node.selectors) {
      auto* out = proto.add_selectors();
      out->set_type(selector.type);
      out->set_value(selector.value);
    }
  }
  if (mask == nullptr || mask->banned()) {
    proto.set_banned(node.banned());
  }
  if (mask == nullptr || mask->can_reattest()) {
    proto.set_can_reattest(node.can_reattest);
  }
  if (mask == nullptr || mask->agent_version()) {
    proto.set_agent_version(node.agent_version);
  }
}

void svid_to_proto(const spiffe::SpiffeId& id, const std::vector<Bytes>& chain, WallTime not_after,
                   spire::api::types::X509SVID& proto) {
  id_to_proto(id, *proto.mutable_id());
  for (const Bytes& certificate : chain) {
    proto.add_cert_chain(certificate);
  }
  proto.set_expires_at(to_unix_seconds(not_after));
}

}  // namespace steeple::server
