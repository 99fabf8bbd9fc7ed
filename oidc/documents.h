// SPDX-License-Identifier: Apache-2.0

// The two pages of the provider: the OIDC discovery document (OpenID Connect Discovery 1.0, section
// 4) and the JWK set that it names. What they say, and when they refuse, is what SPIRE's provider
// does. The keys are written once per change, not per request. On the loop.

#pragma once

#include <memory>
#include <set>
#include <string>

#include "lib/http/server.h"
#include "lib/telemetry/log.h"
#include "oidc/config/provider_config.h"
#include "oidc/jwks_source/jwks_source.h"

namespace steeple::oidc {

class Documents {
 public:
  // Config and source outlive it.
  Documents(const ProviderConfig& config, const JwksSource& source, Logger log);
  Documents(const Documents&) = delete;
  Documents& operator=(const Documents&) = delete;

  // Both pages; everything else is not found.
  void add_to(http::Server& server);

  http::Response discovery(const http::Request& request) const;
  http::Response keys(const http::Request& request);

 private:
  http::Handler page(http::Response (*answer)(Documents&, const http::Request&));
  Result<void> check_host(std::string_view host) const;
  std::string issuer(const std::string& base) const;
  std::string jwks_uri(const std::string& base) const;
  std::string write(const KeySet& set) const;

  const ProviderConfig& config_;
  const JwksSource& source_;
  const Logger log_;
  const std::set<std::string, std::less<>> domains_;
  std::shared_ptr<const KeySet> written_;  // what `text_` says
  std::string text_;
};

// In the form of Go's http.Error.
http::Response error_page(int status, std::string_view text);

// The methods that must reach our pages, so that they and nobody else refuse them.
std::vector<std::string> all_methods();

}  // namespace steeple::oidc
