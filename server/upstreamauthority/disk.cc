// SPDX-License-Identifier: Apache-2.0

#include "server/upstreamauthority/disk.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "lib/base/limits.h"
#include "lib/base/secret_bytes.h"
#include "lib/crypto/private_key.h"
#include "lib/io/directory.h"
#include "lib/x509/builder.h"
#include "lib/x509/csr.h"
#include "lib/x509/verify.h"

namespace steeple::server {

namespace {

constexpr auto kDefaultTtl = std::chrono::hours(1);
constexpr std::string_view kPrefix = "upstreamauthority(disk)";

// One reading of the files.
struct Loaded {
  std::shared_ptr<const x509::Issuer> issuer;
  std::vector<Bytes> chain;                // of the CA, without the root
  std::vector<jose::X509Authority> roots;  // the upstream's
};

Result<std::vector<x509::CertificatePtr>> load_certificates(const std::string& path,
                                                            std::string_view doing) {
  auto text = io::read_file(path, limits::kBundleBytesMax);
  if (!text.ok()) {
    return invalid_argument(fmt::format("{}: {}", doing, text.error().message));
  }
  auto certificates = x509::parse_pem_certificates(*text);
  if (!certificates.ok()) {
    return invalid_argument(fmt::format("{}: {}", doing, certificates.error().message));
  }
  return certificates;
}

Result<std::shared_ptr<const crypto::PrivateKey>> load_key(const std::string& path) {
  constexpr std::string_view kDoing = "unable to load upstream CA key";
  auto text = io::read_file(path, limits::kCertificateBytesMax);
  if (!text.ok()) {
    return invalid_argument(fmt::format("{}: {}", kDoing, text.error().message));
  }
  const SecretBytes pem = SecretBytes::absorb(std::move(*text));
  auto key = crypto::PrivateKey::from_pem(pem.reveal());
  if (!key.ok()) {
    return invalid_argument(fmt::format("{}: {}", kDoing, key.error().message));
  }
  return key;
}

class DiskUpstreamAuthority final : public UpstreamAuthority {
 public:
  DiskUpstreamAuthority(DiskUpstreamConfig config, spiffe::TrustDomain trust_domain,
                        DiskUpstreamDeps deps)
      : config_(std::move(config)),
        trust_domain_(std::move(trust_domain)),
        deps_(std::move(deps)) {}

  std::string_view name() const override { return "disk"; }

  Result<void> load_first() {
    loaded_ = TRY(load());
    return {};
  }

  Result<MintedX509Ca> mint_x509_ca(ByteView csr, Duration preferred_ttl) override {
    auto fresh = load();
    if (fresh.ok()) {
      loaded_ = std::move(fresh).take();
    } else {
      LOG_WARN(deps_.log, "Failed to load the upstream CA, using the last good one",
               {"error", fresh.error()});
    }
    auto signed_ca = sign(csr, preferred_ttl);
    if (!signed_ca.ok()) {
      return internal(
          fmt::format("{}: unable to sign CSR: {}", kPrefix, signed_ca.error().message));
    }
    MintedX509Ca out{.chain = {std::move(signed_ca).take()}, .roots = loaded_.roots};
    out.chain.insert(out.chain.end(), loaded_.chain.begin(), loaded_.chain.end());
    return out;
  }

  Result<std::vector<jose::JwtAuthority>> publish_jwt_key(const jose::JwtAuthority&) override {
    return unimplemented(fmt::format("{}: publishing upstream is unsupported", kPrefix));
  }

  const Watch<UpstreamBundle>* updates() const override { return nullptr; }

 private:
  Result<Loaded> load() const;
  Result<Bytes> sign(ByteView csr, Duration preferred_ttl) const;

  const DiskUpstreamConfig config_;
  const spiffe::TrustDomain trust_domain_;
  DiskUpstreamDeps deps_;
  Loaded loaded_;
};

Result<Loaded> DiskUpstreamAuthority::load() const {
  auto key = TRY(load_key(config_.key_file_path));
  auto certificates =
      TRY(load_certificates(config_.cert_file_path, "unable to load upstream CA cert"));
  const x509::CertificatePtr ca = certificates.front();
  x509::Authorities roots;
  if (config_.bundle_file_path.empty()) {
    if (certificates.size() != 1) {
      return invalid_argument(
          "with no bundle_file_path configured only self-signed CAs are supported");
    }
    roots = std::exchange(certificates, {});
  } else {
    roots = TRY(load_certificates(config_.bundle_file_path, "unable to load upstream CA bundle"));
  }
  if (!(ca->public_key() == key->public_key())) {
    return invalid_argument("unable to load upstream CA: certificate and private key do not match");
  }
  if (!x509::verify_chain(ca, certificates, roots, deps_.clock.now()).ok()) {
    return invalid_argument(
        "unable to load upstream CA: certificate cannot be validated with the provided bundle or "
        "is not self-signed");
  }
  Loaded out;
  out.issuer = TRY(x509::Issuer::make(ca, key).during("unable to load upstream CA"));
  for (const auto& certificate : certificates) {
    out.chain.push_back(certificate->der());
  }
  for (const auto& root : roots) {
    out.roots.push_back({.der = root->der()});
  }
  return out;
}

Result<Bytes> DiskUpstreamAuthority::sign(ByteView csr, Duration preferred_ttl) const {
  auto request = x509::CertificateRequest::parse(csr);
  if (!request.ok()) {
    return std::move(request.error()).during("unable to parse CSR");
  }
  TRY(request->check_signature().during("CSR signature check failed"));
  if (request->uri_sans().size() != 1) {
    return invalid_argument("CSR must have exactly one URI SAN");
  }
  const std::string& uri = request->uri_sans().front();
  auto id = TRY(spiffe::SpiffeId::parse(uri).during(
      fmt::format("CSR with SPIFFE ID \"{}\" is invalid", uri)));
  if (!(id == trust_domain_.id())) {
    return invalid_argument(fmt::format(
        "CSR with SPIFFE ID \"{}\" is invalid: must use the trust domain ID for trust domain "
        "\"{}\"",
        id.text(), trust_domain_.name()));
  }
  const Duration ttl = preferred_ttl > Duration(0) ? preferred_ttl : Duration(kDefaultTtl);
  const x509::Certificate& ca = *loaded_.issuer->certificate();
  return loaded_.issuer->issue_ca(
      {.id = std::move(id),
       .subject = Bytes(request->subject()),
       .serial = x509::random_serial(deps_.random),
       .validity = x509::capped_validity(deps_.clock.now(), ttl, ca.not_after())},
      request->public_key());
}

}  // namespace

Result<std::unique_ptr<UpstreamAuthority>> disk_upstream_authority(
    DiskUpstreamConfig config, const spiffe::TrustDomain& trust_domain, DiskUpstreamDeps deps) {
  if (config.cert_file_path.empty() || config.key_file_path.empty()) {
    return invalid_argument("'cert_file_path' and 'key_file_path' must be set and not empty");
  }
  auto disk =
      std::make_unique<DiskUpstreamAuthority>(std::move(config), trust_domain, std::move(deps));
  TRY(disk->load_first().during(kPrefix));
  return std::unique_ptr<UpstreamAuthority>(std::move(disk));
}

}  // namespace steeple::server
