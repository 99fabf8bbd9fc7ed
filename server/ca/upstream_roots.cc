// SPDX-License-Identifier: Apache-2.0

#include "server/ca/upstream_roots.h"

#include <fmt/format.h>

#include <map>
#include <utility>

namespace steeple::server {

namespace {

struct StoredRoot {
  x509::CertificatePtr certificate;
  bool tainted = false;
};

Result<std::map<std::string, StoredRoot>> stored_roots(Datastore& datastore,
                                                       const spiffe::TrustDomain& domain) {
  std::map<std::string, StoredRoot> out;
  auto bundle = TRY(datastore.fetch_bundle(domain).during("failed to fetch bundle"));
  if (bundle) {
    for (const auto& root : bundle->x509_authorities) {
      auto certificate =
          TRY(x509::Certificate::parse(root.der).during("failed to parse root certificate"));
      std::string id = subject_key_id_text(*certificate);
      out[std::move(id)] = {std::move(certificate), root.tainted};
    }
  }
  return out;
}

}  // namespace

std::string subject_key_id_text(const x509::Certificate& certificate) {
  return hex_encode(certificate.subject_key_id());
}

UpstreamRoots::UpstreamRoots(Datastore& datastore, spiffe::TrustDomain trust_domain, Logger log)
    : datastore_(datastore), trust_domain_(std::move(trust_domain)), log_(std::move(log)) {}

Result<void> UpstreamRoots::sync(const std::vector<jose::X509Authority>& roots) {
  auto stored = TRY(stored_roots(datastore_, trust_domain_));
  jose::Bundle update{.trust_domain = trust_domain_};
  std::set<std::string> named;
  for (const auto& root : roots) {
    auto certificate = TRY(x509::Certificate::parse(root.der).during("failed to parse root"));
    std::string id = subject_key_id_text(*certificate);
    named.insert(id);
    auto known = stored.find(id);
    if (root.tainted && known != stored.end() && !known->second.tainted) {
      if (reported_.insert(id).second) {
        tainted_.push_back(known->second.certificate);
        LOG_INFO(log_, "X.509 authority tainted", {"subject_key_id", id});
      }
      continue;  // marked once our CA no longer hangs on it
    }
    update.x509_authorities.push_back(root);
  }
  for (const auto& [id, root] : stored) {
    if (root.tainted && !named.contains(id)) {
      TRY(datastore_.revoke_x509_authority(trust_domain_, id)
              .during(fmt::format("failed to revoke a tainted key \"{}\"", id)));
      LOG_INFO(log_, "X.509 authority revoked", {"subject_key_id", id});
    }
  }
  if (!update.x509_authorities.empty()) {
    TRY(datastore_.append_bundle(update));
  }
  return {};
}

}  // namespace steeple::server
