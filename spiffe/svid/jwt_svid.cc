// SPDX-License-Identifier: Apache-2.0

#include "spiffe/svid/jwt_svid.h"

#include <fmt/format.h>

#include "lib/jose/jwt_svid.h"

namespace spiffe {
namespace {

using steeple::Result;

JwtSvid from_parsed(steeple::jose::JwtSvid parsed) {
  return {.id = std::move(parsed.id),
          .audience = std::move(parsed.audience),
          .expires_at = parsed.expires_at,
          .token = std::move(parsed.token),
          .claims_json = std::move(parsed.claims_json)};
}

}  // namespace

Result<JwtSvid> JwtSvid::verify(std::string_view token, const BundleSet& bundles,
                                const std::vector<std::string>& audiences, steeple::WallTime now) {
  auto key_of = [&bundles](const TrustDomain& domain, std::string_view key_id)
      -> Result<std::shared_ptr<const steeple::crypto::PublicKey>> {
    auto bundle = bundles.find(domain);
    if (!bundle) {
      return steeple::not_found(
          fmt::format("no JWT bundle found for trust domain \"{}\"", domain.name()));
    }
    auto key = bundle->jwt_authority(key_id);
    if (!key) {
      return steeple::not_found(fmt::format("no JWT authority \"{}\" found for trust domain \"{}\"",
                                            key_id, domain.name()));
    }
    return key;
  };
  return from_parsed(
      TRY(steeple::jose::verify_jwt_svid(token, audiences, key_of, now).during("jwtsvid")));
}

Result<JwtSvid> JwtSvid::parse_insecure(std::string_view token,
                                        const std::vector<std::string>& audiences,
                                        steeple::WallTime now) {
  return from_parsed(
      TRY(steeple::jose::parse_jwt_svid_insecure(token, audiences, now).during("jwtsvid")));
}

}  // namespace spiffe
