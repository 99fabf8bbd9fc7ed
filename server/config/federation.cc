// SPDX-License-Identifier: Apache-2.0

// server{ federation{} }: surface 1.3. The bundle endpoint is built for the profile https_spiffe.

#include <fmt/format.h>

#include "server/config/config.h"

namespace steeple::server {
namespace {

constexpr std::int64_t kPortMax = 65'535;
constexpr auto kRefreshHintLow = std::chrono::minutes(1);
constexpr auto kRefreshHintHigh = std::chrono::hours(24);

Error not_built(std::string_view key, std::string_view what) {
  return {Code::kUnimplemented, fmt::format("server.federation.{}: {}", key, what)};
}

const hcl::Schema<EndpointProfileConfig>& profile_schema() {
  using P = EndpointProfileConfig;
  static const auto schema =
      hcl::Schema<P>("profile", "How the bundle endpoint is authenticated.")
          .key("https_spiffe", &P::https_spiffe, "with the server's own SVID")
          .key("https_web", &P::https_web, "with a certificate of the web; not built, refused");
  return schema;
}

const hcl::Schema<BundleEndpointConfig>& endpoint_schema() {
  using B = BundleEndpointConfig;
  static const auto schema =
      hcl::Schema<B>("federation.bundle_endpoint", "Where other trust domains fetch our bundle.")
          .key("address", &B::address, "address to listen on")
          .key("port", &B::port, "port to listen on", {.min = 1, .max = kPortMax})
          .key("refresh_hint", &B::refresh_hint, "how often others should look again", {.min = 1})
          .key("acme", &B::acme, "old place of profile.https_web.acme; not built, refused")
          .block("profile", &B::profile, profile_schema());
  return schema;
}

}  // namespace

const hcl::Schema<FederationConfig>& federation_schema() {
  using F = FederationConfig;
  static const auto schema =
      hcl::Schema<F>("federation", "Exchange of bundles with other trust domains.")
          .block("bundle_endpoint", &F::bundle_endpoint, endpoint_schema())
          .key("federates_with", &F::federates_with, "whose bundles to fetch; not built, refused")
          .allow_unknown();
  return schema;
}

Result<void> check_federation(const FederationConfig& config, std::vector<std::string>& warnings) {
  if (config.federates_with) {
    return not_built("federates_with", "fetching other domains' bundles is not built yet");
  }
  if (!config.bundle_endpoint) {
    return {};
  }
  const BundleEndpointConfig& endpoint = *config.bundle_endpoint;
  if (endpoint.acme && endpoint.profile) {
    return invalid_argument("either bundle endpoint 'acme' or 'profile' can be set, but not both");
  }
  if (endpoint.acme) {
    return not_built("bundle_endpoint.acme", "ACME certificates are not built yet");
  }
  if (!endpoint.profile) {
    warnings.emplace_back(
        "Bundle endpoint is configured but has no profile set, using https_spiffe as default; "
        "please configure a profile explicitly. This will be fatal in a future release.");
  } else if (endpoint.profile->https_spiffe && endpoint.profile->https_web) {
    return invalid_argument("exactly one bundle endpoint profile is expected");
  } else if (endpoint.profile->https_web) {
    return not_built("bundle_endpoint.profile",
                     "https_web is not built yet; the endpoint is served with https_spiffe");
  } else if (!endpoint.profile->https_spiffe) {
    return invalid_argument(
        "unknown bundle endpoint profile configured; current supported profiles are "
        "\"https_spiffe\" and 'https_web\"");
  }
  if (endpoint.refresh_hint >= kRefreshHintHigh) {
    warnings.emplace_back(
        "Bundle endpoint refresh hint set to a high value. To cover the case of unscheduled trust "
        "bundle updates, it's recommended to have a smaller value, e.g. 5m");
  }
  if (endpoint.refresh_hint < kRefreshHintLow) {
    warnings.emplace_back(
        "Bundle endpoint refresh hint set too low. SPIRE will not refresh more often than 1 "
        "minute");
  }
  return {};
}

}  // namespace steeple::server
