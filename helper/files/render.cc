// SPDX-License-Identifier: Apache-2.0

#include "helper/files/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/crypto/pem.h"

namespace steeple::helper {
namespace {

constexpr std::string_view kCertificate = "CERTIFICATE";
constexpr std::string_view kPrivateKey = "PRIVATE KEY";

Result<const spiffe::X509Svid*> pick(const spiffe::X509Context& context, const std::string& hint) {
  if (hint.empty()) {
    return &context.default_svid();
  }
  auto found = std::find_if(context.svids.begin(), context.svids.end(),
                            [&](const spiffe::X509Svid& svid) { return svid.hint() == hint; });
  if (found == context.svids.end()) {
    return not_found("failed to find the hinted x509 SVID");
  }
  return &*found;
}

}  // namespace

Result<X509Pem> render_x509(const spiffe::X509Context& context, const X509Options& options,
                            WallTime now) {
  const spiffe::X509Svid& svid = *TRY(pick(context, options.hint));
  const auto& domain = svid.id().trust_domain();
  auto own = context.bundles.find(domain);
  if (!own) {
    return not_found(fmt::format("no bundles found for \"{}\" trust domain", domain.name()));
  }
  std::string chain;
  std::string bundle;
  auto add_to_bundle = [&](const x509::Certificate& certificate) {
    if (!options.omit_expired || now <= certificate.not_after()) {
      bundle += crypto::pem_encode(kCertificate, certificate.der());
    }
  };
  for (const auto& authority : *own->x509_authorities()) {
    add_to_bundle(*authority);
  }
  for (const auto& certificate : svid.chain()) {
    if (options.add_intermediates_to_bundle && certificate != svid.chain().front()) {
      add_to_bundle(*certificate);
    } else {
      chain += crypto::pem_encode(kCertificate, certificate->der());
    }
  }
  for (const auto& [other, federated] : context.bundles.all()) {
    if (!options.include_federated_domains || other == domain) {
      continue;
    }
    for (const auto& authority : *federated->x509_authorities()) {
      add_to_bundle(*authority);
    }
  }
  return X509Pem{
      .svid = SecretBytes(chain),
      .key = SecretBytes::absorb(crypto::pem_encode(kPrivateKey, svid.key()->to_pkcs8().reveal())),
      .bundle = SecretBytes(bundle)};
}

std::string render_jwt_bundles(const spiffe::BundleSet& bundles) {
  nlohmann::json document = nlohmann::json::object();
  for (const auto& [domain, bundle] : bundles.all()) {
    document[std::string(domain.name())] = base64_encode(bundle->jwks());
  }
  return document.dump();
}

Result<spiffe::JwtSvid> pick_jwt(const std::vector<spiffe::JwtSvid>& svids,
                                 const std::string& hint) {
  for (const spiffe::JwtSvid& svid : svids) {
    if (hint.empty() || svid.hint == hint) {
      return svid;
    }
  }
  return not_found("failed to find the hinted JWT SVID");
}

}  // namespace steeple::helper
