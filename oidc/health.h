// SPDX-License-Identifier: Apache-2.0

// Whether what is served is fresh: the pages of health_checks{}. The rule is the reference's: keys
// that the source has confirmed within the threshold are good, and at the start there is as much
// time for the first ones. On the loop.

#pragma once

#include <functional>

#include "lib/http/server.h"
#include "oidc/config/provider_config.h"
#include "oidc/jwks_source/jwks_source.h"

namespace steeple::oidc {

// The poll interval; three minutes where five polls would take less.
Duration freshness_threshold(Duration poll_interval);

class Health {
 public:
  // `can_serve`: something else that readiness takes (our own certificate). Source and clock
  // outlive it.
  Health(const ProviderConfig& config, const JwksSource& source, const Clock& clock,
         std::function<bool()> can_serve);

  bool ready() const;
  bool live() const;
  void add_to(http::Server& server, const HealthConfig& config) const;

 private:
  bool fresh() const;

  const JwksSource& source_;
  const Clock& clock_;
  const std::function<bool()> can_serve_;
  const Duration threshold_;
  const SteadyTime begun_;
};

}  // namespace steeple::oidc
