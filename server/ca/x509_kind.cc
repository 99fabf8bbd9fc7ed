// SPDX-License-Identifier: Apache-2.0

#include "server/ca/x509_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/x509/builder.h"

namespace steeple::server {

namespace {

std::string key_id(const std::string& slot_id) { return "x509-CA-" + slot_id; }

Slot to_slot(std::string id, WallTime issued_at, X509SigningAuthority authority) {
  const x509::Certificate& certificate = *authority.issuer->certificate();
  return {.id = std::move(id),
          .status = SlotStatus::kPrepared,
          .authority_id = subject_key_id_text(certificate),
          .upstream_authority_id = hex_encode(certificate.authority_key_id()),
          .issued_at = truncate_to_seconds(issued_at),
          .not_before = certificate.not_before(),
          .not_after = certificate.not_after(),
          .x509 = std::make_shared<const X509SigningAuthority>(std::move(authority))};
}

// In a journal, what does not parse is as useless as what has expired.
Error unusable(std::string why) { return not_found(std::move(why)); }

bool has_root(const jose::Bundle& bundle, ByteView der) {
  return std::ranges::any_of(bundle.x509_authorities,
                             [der](const auto& root) { return root.der == der; });
}

}  // namespace

const AuthorityKind::Names& X509Kind::names() const {
  static constexpr Names kNames{.kind = JournalKind::kX509,
                                .noun = "X509 CA",
                                .slot_noun = "X509CA",
                                .upstream_field = true,
                                .prepare_metric = "ca.manager.x509_ca.prepare",
                                .activate_metric = "ca.manager.x509_ca.activate"};
  return kNames;
}

Result<Slot> X509Kind::make(const std::string& slot_id) {
  auto signer = TRY(deps_.keys.generate_key(key_id(slot_id), key_type_));
  const WallTime now = deps_.clock.now();
  auto authority = TRY(deps_.upstream != nullptr ? ask_upstream(signer) : self_sign(signer));
  return to_slot(slot_id, now, std::move(authority));
}

Result<X509SigningAuthority> X509Kind::self_sign(const keymanager::SignerPtr& signer) {
  const CredentialOptions& options = deps_.ca.options();
  const WallTime now = deps_.clock.now();
  Bytes serial = x509::random_serial(deps_.random);
  Bytes subject = TRY(x509::ca_subject(options.ca_subject, serial).encode());
  Bytes der = TRY(x509::build_self_signed_ca({.id = options.trust_domain.id(),
                                              .subject = std::move(subject),
                                              .serial = std::move(serial),
                                              .validity = x509::validity(now, options.ca_ttl)},
                                             *signer));
  auto certificate = TRY(x509::Certificate::parse(der));
  auto issuer = TRY(x509::Issuer::make(certificate, signer));
  X509SigningAuthority authority{std::move(issuer)};
  TRY(prove(authority, {certificate}));
  jose::Bundle update{.trust_domain = options.trust_domain};
  update.x509_authorities.push_back({.der = certificate->der()});
  TRY(deps_.datastore.append_bundle(update));
  return authority;
}

Result<X509SigningAuthority> X509Kind::ask_upstream(const keymanager::SignerPtr& signer) {
  const CredentialOptions& options = deps_.ca.options();
  const x509::Name subject =
      x509::ca_subject(options.ca_subject, x509::random_serial(deps_.random));
  Bytes csr = TRY(x509::build_ca_csr(options.trust_domain, subject, *signer));
  auto minted = TRY(deps_.upstream->mint_x509_ca(csr, options.ca_ttl));
  auto chain = x509::parse_chain(minted.chain);
  if (!chain.ok() || chain->empty()) {
    return invalid_argument("X509 CA minted by upstream authority is invalid: " +
                            (chain.ok() ? std::string("empty chain") : chain.error().message));
  }
  x509::Authorities roots;
  for (const auto& root : minted.roots) {
    roots.push_back(TRY(x509::Certificate::parse(root.der).during("upstream root")));
  }
  auto issuer = x509::Issuer::make(chain->front(), signer);
  if (!issuer.ok()) {
    return std::move(issuer.error()).during("X509 CA minted by upstream authority is invalid");
  }
  X509SigningAuthority authority{std::move(issuer).take(), std::move(minted.chain)};
  // A CA that cannot sign a valid SVID must not reach the bundle.
  auto proved = prove(authority, std::move(roots));
  if (!proved.ok()) {
    return invalid_argument("X509 CA minted by upstream authority is invalid: " +
                            proved.error().message);
  }
  TRY(deps_.roots.sync(minted.roots));
  return authority;
}

Result<void> X509Kind::prove(const X509SigningAuthority& authority, x509::Authorities roots) const {
  const spiffe::TrustDomain& domain = deps_.ca.options().trust_domain;
  const WallTime now = deps_.clock.now();
  const x509::Certificate& ca = *authority.issuer->certificate();
  TRY(validate_ca(ca, domain, now));
  const auto id = TRY(spiffe::SpiffeId::make(domain, "/spire/throwaway"));
  const std::vector<std::string> no_dns_names;
  const Bytes subject = TRY(x509::svid_subject({}, no_dns_names));
  // The key in it is never used; the CA's own is at hand.
  Bytes leaf = TRY(authority.issuer
                       ->issue_svid({.id = id,
                                     .public_key = ca.public_key(),
                                     .subject = subject,
                                     .serial = x509::random_serial(deps_.random),
                                     .validity = {ca.not_before(), ca.not_after()},
                                     .dns_names = no_dns_names})
                       .during("failed to sign validation certificate"));
  std::vector<Bytes> chain{std::move(leaf)};
  chain.insert(chain.end(), authority.upstream_chain.begin(), authority.upstream_chain.end());
  auto shared = std::make_shared<const x509::Authorities>(std::move(roots));
  TRY(x509::verify_svid(
          chain, [&shared](const spiffe::TrustDomain&) { return shared; }, now)
          .during("X509 CA produced an invalid X509-SVID chain"));
  return {};
}

Result<Slot> X509Kind::load(const JournalEntry& entry, const jose::Bundle* bundle) {
  if (entry.slot_id != "A" && entry.slot_id != "B") {
    return unusable(entry.slot_id.empty() ? "no slot id" : "unknown slot id");
  }
  if (entry.not_after < to_unix_seconds(deps_.clock.now())) {
    return unusable("slot expired");
  }
  // With an upstream, the roots in the bundle are not our certificates.
  if (deps_.upstream == nullptr && bundle != nullptr && !has_root(*bundle, entry.certificate)) {
    return unusable("certificate is not in the bundle");
  }
  auto certificate = x509::Certificate::parse(entry.certificate);
  if (!certificate.ok()) {
    return unusable("unable to parse CA certificate: " + certificate.error().message);
  }
  auto chain = x509::parse_chain(entry.upstream_chain);
  if (!chain.ok()) {
    return unusable("unable to parse upstream chain certificate: " + chain.error().message);
  }
  auto signer = deps_.keys.get_key(key_id(entry.slot_id));
  if (!signer.ok()) {
    return signer.error().code == Code::kNotFound ? unusable("no key manager key")
                                                  : std::move(signer).error();
  }
  if (!((*signer)->public_key() == (*certificate)->public_key())) {
    return unusable("public key does not match key manager key");
  }
  auto issuer = x509::Issuer::make(*certificate, *signer);
  if (!issuer.ok()) {
    return unusable(issuer.error().message);
  }
  Slot slot = to_slot(entry.slot_id, from_unix_seconds(entry.issued_at),
                      {std::move(issuer).take(), entry.upstream_chain});
  slot.status = entry.status;
  return slot;
}

JournalEntry X509Kind::to_entry(const Slot& slot) const {
  return {.slot_id = slot.id,
          .issued_at = to_unix_seconds(slot.issued_at),
          .not_after = to_unix_seconds(slot.not_after),
          .status = slot.status,
          .authority_id = slot.authority_id,
          .upstream_authority_id = slot.upstream_authority_id,
          .certificate = slot.x509->issuer->certificate()->der(),
          .upstream_chain = slot.x509->upstream_chain};
}

void X509Kind::activate(const Slot& slot) {
  deps_.ca.activate(slot.x509);
  const std::string& domain = deps_.ca.options().trust_domain.name();
  const Duration left = slot.not_after - deps_.clock.now();
  const double seconds = std::chrono::duration<double>(left).count();
  deps_.metrics.gauge("manager.x509_ca.rotate.expiration",
                      static_cast<double>(to_unix_seconds(slot.not_after)),
                      {{"trust_domain_id", domain}});
  deps_.metrics.gauge("manager.x509_ca.rotate.ttl", seconds, {{"trust_domain_id", domain}});
  LOG_DEBUG(deps_.log, "Successfully rotated X.509 CA", {"ttl", seconds},
            {"trust_domain_id", deps_.ca.options().trust_domain.id_string()});
}

}  // namespace steeple::server
