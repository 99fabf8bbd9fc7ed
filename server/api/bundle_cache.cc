// SPDX-License-Identifier: Apache-2.0

#include "server/api/bundle_cache.h"

#include <algorithm>

#include "lib/x509/certificate.h"

namespace steeple::server {

BundleCache::BundleCache(const spiffe::TrustDomain& own, std::set<spiffe::TrustDomain> watched,
                         Datastore& datastore, Logger log)
    : own_(own), watched_(std::move(watched)), datastore_(datastore), log_(std::move(log)) {
  watched_.insert(own_);
  subscription_ = datastore_.subscribe([this](const ChangeBatch& batch) { changed(batch); });
}

Result<void> BundleCache::load() {
  auto turn = reading_.lock();
  tls::BundleSet set;
  for (const spiffe::TrustDomain& domain : watched_) {
    auto bundle = TRY(datastore_.fetch_bundle(domain).during("fetch bundle"));
    if (!bundle) {
      continue;
    }
    auto authorities = std::make_shared<x509::Authorities>();
    for (const jose::X509Authority& authority : bundle->x509_authorities) {
      auto certificate = x509::Certificate::parse(authority.der);
      if (certificate.ok()) {
        authorities->push_back(std::move(*certificate));
      } else {
        LOG_ERROR(log_, "Skipping a bundle certificate that cannot be parsed",
                  {"trust_domain_id", domain.name()}, {"error", certificate.error()});
      }
    }
    set.emplace(domain, std::move(authorities));
    if (domain == own_) {
      own_bundle_.publish(std::move(*bundle));
    }
  }
  authorities_->publish(std::move(set));
  behind_ = false;
  return {};
}

void BundleCache::changed(const ChangeBatch& batch) {
  bool concerned =
      batch.everything || std::ranges::any_of(batch.bundles, [this](const auto& domain) {
        return watched_.contains(domain);
      });
  if (!concerned) {
    return;
  }
  Result<void> loaded = load();
  if (!loaded.ok()) {
    behind_ = true;
    LOG_ERROR(log_, "Failed to refresh bundles", {"error", loaded.error()});
  }
}

}  // namespace steeple::server
