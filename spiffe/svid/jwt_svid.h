// SPDX-License-Identifier: Apache-2.0

// A JWT-SVID: a signed token that says who its bearer is, to whom. Plain value.

#pragma once

#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "spiffe/bundle/bundle.h"
#include "spiffe/spiffe_id.h"

namespace spiffe {

struct JwtSvid {
  SpiffeId id;
  std::vector<std::string> audience;
  steeple::WallTime expires_at;
  std::string token;
  std::string claims_json;  // one JSON object, as signed
  std::string hint = {};

  // Checks signature, expiry and audience (JWT-SVID section 5). `audiences`: the token must be for
  // at least one of them.
  static steeple::Result<JwtSvid> verify(std::string_view token, const BundleSet& bundles,
                                         const std::vector<std::string>& audiences,
                                         steeple::WallTime now);
  // Without the signature: only for tokens that the Workload API just gave us.
  static steeple::Result<JwtSvid> parse_insecure(std::string_view token,
                                                 const std::vector<std::string>& audiences,
                                                 steeple::WallTime now);
};

}  // namespace spiffe
