// SPDX-License-Identifier: Apache-2.0

#include "server/ca/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/ca/rotation.h"

namespace steeple::server {

namespace {

Error invalid_ca(std::string_view why) {
  return invalid_argument("invalid X509 CA: " + std::string(why));
}

}  // namespace

spiffe::SpiffeId server_id(const spiffe::TrustDomain& domain) {
  return spiffe::SpiffeId::make(domain, "/spire/server").take();
}

Result<spiffe::SpiffeId> agent_id(const spiffe::TrustDomain& domain, std::string_view suffix) {
  TRY(spiffe::validate_path(suffix).during(
      fmt::format("invalid agent path suffix \"{}\"", suffix)));
  return spiffe::SpiffeId::make(domain, "/spire/agent" + std::string(suffix));
}

Result<void> check_member(const spiffe::TrustDomain& domain, const spiffe::SpiffeId& id) {
  if (!id.member_of(domain)) {
    return invalid_argument(
        fmt::format("\"{}\" is not a member of trust domain \"{}\"", id.text(), domain.name()));
  }
  if (id.path().empty()) {
    return invalid_argument(fmt::format(
        "\"{}\" is not a member of trust domain \"{}\"; path is empty", id.text(), domain.name()));
  }
  return {};
}

Result<void> validate_ca(const x509::Certificate& ca, const spiffe::TrustDomain& domain,
                         WallTime now) {
  constexpr std::uint16_t kAllowed =
      x509::key_usage::kCertSign | x509::key_usage::kCrlSign | x509::key_usage::kDigitalSignature;
  if (!ca.has_basic_constraints()) {
    return invalid_ca("basic constraints are not valid");
  }
  if (!ca.is_ca()) {
    return invalid_ca("cA constraint is not set");
  }
  if (!ca.has_key_usage(x509::key_usage::kCertSign)) {
    return invalid_ca("keyCertSign key usage must be set");
  }
  if ((*ca.key_usage() & ~kAllowed) != 0) {
    return invalid_ca("only keyCertSign, cRLSign, or digitalSignature key usage can be set");
  }
  // X509-SVID 3.1: a signing certificate should itself be an SVID, so its URI SAN may be missing.
  const std::string own = domain.id_string();
  const auto& uris = ca.uri_sans();
  if (uris.size() > 1 || (uris.size() == 1 && uris[0] != own)) {
    return invalid_ca(
        fmt::format("expected URI SAN \"{}\" but got \"{}\"", own, fmt::join(uris, "\", \"")));
  }
  if (now < ca.not_before()) {
    return invalid_ca("not yet valid until " + format_rfc3339(ca.not_before()));
  }
  if (now > ca.not_after()) {
    return invalid_ca("already expired as of " + format_rfc3339(ca.not_after()));
  }
  return {};
}

Duration max_svid_ttl_for_ca_ttl(Duration ca_ttl) {
  return std::min<Duration>(ca_ttl / kActivationDivisor, kActivationCap);
}

Duration min_ca_ttl_for_svid_ttl(Duration svid_ttl) { return svid_ttl * kActivationDivisor; }

}  // namespace steeple::server
