// SPDX-License-Identifier: Apache-2.0

#include "server/ca/ca.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/base/check.h"
#include "lib/jose/jwt_svid.h"
#include "lib/x509/builder.h"

namespace steeple::server {

namespace {

Error no_x509_authority() { return unavailable("X509 CA is not available for signing"); }

SignedX509 with_chain(x509::CertificatePtr leaf, const X509SigningAuthority& authority) {
  SignedX509 out;
  out.chain.reserve(1 + authority.upstream_chain.size());
  out.chain.push_back(leaf->der());
  out.chain.insert(out.chain.end(), authority.upstream_chain.begin(),
                   authority.upstream_chain.end());
  out.leaf = std::move(leaf);
  return out;
}

}  // namespace

Ca::Ca(CredentialOptions options, Deps deps)
    : options_(std::move(options)),
      deps_(deps),
      default_subject_(x509::svid_subject({}, {}).take()),
      server_id_(server_id(options_.trust_domain)) {}

void Ca::activate(std::shared_ptr<const X509SigningAuthority> authority) {
  CHECK(authority && authority->issuer);
  x509_.publish(std::move(authority));
}

void Ca::activate(std::shared_ptr<const JwtSigningAuthority> authority) {
  CHECK(authority && authority->signer);
  jwt_.publish(std::move(authority));
}

void Ca::publish_tainted(const x509::Authorities& roots) {
  auto before = tainted_.get();
  x509::Authorities all = before ? *before : x509::Authorities();
  all.insert(all.end(), roots.begin(), roots.end());
  if (all.size() > kTaintedMax) {
    all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(kTaintedMax));
  }
  tainted_.publish(std::move(all));
}

Result<SignedX509> Ca::issue_svid(const SvidRequest& request) const {
  auto authority = x509_.get();
  if (!authority) {
    return no_x509_authority();
  }
  TRY(check_member(options_.trust_domain, request.id).during("invalid X509-SVID ID"));
  const WallTime now = deps_.clock.now();
  const WallTime cap = authority->issuer->certificate()->not_after();
  Bytes der = TRY(authority->issuer
                      ->issue_svid({.id = request.id,
                                    .public_key = request.public_key,
                                    .subject = request.subject,
                                    .serial = x509::random_serial(deps_.random),
                                    .validity = x509::capped_validity(now, request.ttl, cap),
                                    .dns_names = request.dns_names})
                      .during("failed to sign X509 SVID"));
  auto leaf = TRY(x509::Certificate::parse(der).during("failed to sign X509 SVID"));
  // Also stops an expired CA: the SVID would have ended already.
  auto valid = x509::validate_issued_svid(*leaf, request.id, request.public_key, now);
  if (!valid.ok()) {
    return std::move(valid.error()).during(fmt::format("invalid {} X509-SVID", request.what));
  }
  deps_.metrics.count("server_ca.sign.x509_svid");
  return with_chain(std::move(leaf), *authority);
}

Result<SignedX509> Ca::sign_workload_x509_svid(const WorkloadX509Params& params) const {
  SvidRequest request{.what = "workload",
                      .id = params.id,
                      .public_key = params.public_key,
                      .subject = default_subject_,
                      .dns_names = params.dns_names,
                      .ttl = params.ttl > Duration(0) ? params.ttl : options_.x509_svid_ttl};
  const bool plain_subject = params.subject == nullptr || params.subject->empty();
  if (plain_subject && params.dns_names.empty()) {
    return issue_svid(request);
  }
  const std::vector<std::string> dns_names(params.dns_names.begin(), params.dns_names.end());
  const Bytes subject =
      TRY(x509::svid_subject(plain_subject ? x509::Name{} : *params.subject, dns_names));
  return issue_svid({.what = request.what,
                     .id = request.id,
                     .public_key = request.public_key,
                     .subject = subject,
                     .dns_names = request.dns_names,
                     .ttl = request.ttl});
}

Result<SignedX509> Ca::sign_agent_x509_svid(const crypto::PublicKey& public_key,
                                            const spiffe::SpiffeId& id) const {
  return issue_svid({.what = "agent",
                     .id = id,
                     .public_key = public_key,
                     .subject = default_subject_,
                     .dns_names = {},
                     .ttl = options_.agent_svid_ttl()});
}

Result<SignedX509> Ca::sign_server_x509_svid(const crypto::PublicKey& public_key) const {
  return issue_svid({.what = "server",
                     .id = server_id_,
                     .public_key = public_key,
                     .subject = default_subject_,
                     .dns_names = {},
                     .ttl = options_.x509_svid_ttl});
}

Result<SignedX509> Ca::sign_downstream_x509_ca(const crypto::PublicKey& public_key,
                                               Duration ttl) const {
  auto authority = x509_.get();
  if (!authority) {
    return no_x509_authority();
  }
  const auto& parent = authority->issuer->certificate();
  const WallTime now = deps_.clock.now();
  const std::size_t chain_length = std::max<std::size_t>(1, authority->upstream_chain.size());
  const x509::Name subject = TRY(x509::downstream_ca_subject(*parent, chain_length));
  const Duration wanted = ttl > Duration(0) ? ttl : options_.ca_ttl;
  Bytes encoded_subject = TRY(subject.encode());
  Bytes der =
      TRY(authority->issuer
              ->issue_ca({.id = options_.trust_domain.id(),
                          .subject = std::move(encoded_subject),
                          .serial = x509::random_serial(deps_.random),
                          .validity = x509::capped_validity(now, wanted, parent->not_after())},
                         public_key)
              .during("unable to create downstream X509 CA"));
  auto leaf = TRY(x509::Certificate::parse(der).during("unable to create downstream X509 CA"));
  TRY(validate_ca(*leaf, options_.trust_domain, now).during("invalid downstream X509 CA"));
  deps_.metrics.count("server_ca.sign.x509_ca_svid");
  return with_chain(std::move(leaf), *authority);
}

Result<SignedJwt> Ca::sign_workload_jwt_svid(const WorkloadJwtParams& params) const {
  auto authority = jwt_.get();
  if (!authority) {
    return unavailable("JWT key is not available for signing");
  }
  TRY(check_member(options_.trust_domain, params.id).during("invalid JWT-SVID ID"));
  jose::JwtSvidClaims claims{.subject = params.id,
                             .audience = {},
                             .expires_at = {},
                             .issued_at = {},
                             .issuer = options_.jwt_issuer};
  for (const std::string& audience : params.audience) {
    if (!audience.empty()) {
      claims.audience.push_back(audience);
    }
  }
  if (claims.audience.empty()) {
    return invalid_argument("invalid JWT-SVID audience: cannot be empty");
  }
  const WallTime now = deps_.clock.now();
  const Duration ttl = params.ttl > Duration(0) ? params.ttl : options_.jwt_svid_ttl;
  claims.issued_at = truncate_to_seconds(now);
  claims.expires_at = truncate_to_seconds(std::min(now + ttl, authority->not_after));
  if (claims.expires_at <= now) {
    return internal("invalid JWT-SVID \"exp\" claim: already expired as of " +
                    format_rfc3339(claims.expires_at));
  }
  if (params.include_jti) {
    claims.jti = jose::random_jti(deps_.random);
  }
  std::string token = TRY(jose::sign_jwt_svid(claims, *authority->signer, authority->key_id)
                              .during("unable to sign JWT SVID"));
  deps_.metrics.count("server_ca.sign.jwt_svid");
  return SignedJwt{std::move(token), claims.issued_at, claims.expires_at};
}

Result<void> Ca::check_health() const {
  auto authority = x509_.get();
  if (!authority) {
    return no_x509_authority();
  }
  // Any public key does: nobody gets this SVID.
  auto id = spiffe::SpiffeId::make(options_.trust_domain, "/for/health/check/only").take();
  TRY(sign_workload_x509_svid(
      {.public_key = authority->issuer->certificate()->public_key(), .id = id}));
  return {};
}

}  // namespace steeple::server
