// SPDX-License-Identifier: Apache-2.0

#include "oidc/jwks_source/workload_api_source.h"

#include <fmt/format.h>

namespace steeple::oidc {

WorkloadApiSource::WorkloadApiSource(spiffe::TrustDomain trust_domain, io::Loop& loop,
                                     std::shared_ptr<spiffe::Client> client, Logger log)
    : trust_domain_(std::move(trust_domain)),
      loop_(loop),
      client_(std::move(client)),
      log_(std::move(log)),
      newest_(loop.clock()) {}

void WorkloadApiSource::hand_on(std::function<void()> task) {
  loop_.post([task = std::move(task), alive = std::weak_ptr<const bool>(alive_)] {
    if (alive.lock()) {
      task();
    }
  });
}

void WorkloadApiSource::start() {
  watch_ = client_->watch_jwt_bundles(
      {.on_update =
           [this](std::shared_ptr<const spiffe::BundleSet> bundles) {
             hand_on([this, bundles = std::move(bundles)] { on_update(*bundles); });
           },
       .on_error = [this](const Error& error) { hand_on([this, error] { on_error(error); }); }});
}

void WorkloadApiSource::on_update(const spiffe::BundleSet& bundles) {
  Result<void> taken = take(bundles);
  if (!taken.ok()) {
    LOG_ERROR(log_, taken.error().message, {"trust_domain_id", trust_domain_.id_string()});
    outdated();
    return;
  }
  current_ = true;
}

Result<void> WorkloadApiSource::take(const spiffe::BundleSet& bundles) {
  std::shared_ptr<const spiffe::Bundle> bundle = bundles.find(trust_domain_);
  if (!bundle) {
    return not_found("No bundle for trust domain in Workload API response");
  }
  newest_.put(TRY(jose::parse_jwks(bundle->jwks())
                      .during("Failed to parse trust domain bundle received from the Workload "
                              "API")));
  return {};
}

void WorkloadApiSource::on_error(const Error& error) {
  LOG_WARN(log_, "Failed to fetch JWKS from the Workload API", {"error", error});
  outdated();
}

void WorkloadApiSource::outdated() {
  if (std::exchange(current_, false)) {
    current_until_ = loop_.clock().steady();
  }
}

std::optional<SteadyTime> WorkloadApiSource::last_success() const {
  return current_ ? loop_.clock().steady() : current_until_;
}

}  // namespace steeple::oidc
