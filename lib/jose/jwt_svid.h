// SPDX-License-Identifier: Apache-2.0

// JWT-SVIDs (JWT-SVID sections 3 to 5): claims to token and back. Validation is go-spiffe's: typ
// absent, JWT or JOSE; kid; sub a SPIFFE ID; exp there; an accepted audience; one minute of leeway
// on exp, nbf and iat. Pure functions, any thread.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/crypto/private_key.h"
#include "spiffe/spiffe_id.h"

namespace steeple::jose {

struct JwtSvidClaims {
  spiffe::SpiffeId subject;
  std::vector<std::string> audience;  // always written as an array
  WallTime expires_at;                // whole seconds
  WallTime issued_at;
  std::string issuer = {};  // left out when empty
  std::string jti = {};     // left out when empty
};
// base64url of the 16 bytes of a random UUID (version 4), as SPIRE makes it.
std::string random_jti(Random& random);

// kInvalidArgument when the audience is empty; empty audience strings are dropped first.
Result<std::string> sign_jwt_svid(const JwtSvidClaims& claims, const crypto::Signer& key,
                                  std::string_view key_id);

struct JwtSvid {
  spiffe::SpiffeId id;
  std::vector<std::string> audience;
  WallTime expires_at{};
  std::optional<WallTime> issued_at;
  std::string token;
  std::string claims_json;  // the payload as signed: one JSON object
};

inline constexpr auto kJwtLeeway = std::chrono::minutes(1);

// Finds the authority: kNotFound for an unknown trust domain or key id.
using JwtKeyOf = std::function<Result<std::shared_ptr<const crypto::PublicKey>>(
    const spiffe::TrustDomain& domain, std::string_view key_id)>;

// The whole check. `audiences`: at least one of them must be in the token; empty means any.
// Texts are go-spiffe's without the prefix "jwtsvid: ": "token has expired",
// "expected audience in [...] (audience=[...])", "token missing subject claim", ...
Result<JwtSvid> verify_jwt_svid(std::string_view token, const std::vector<std::string>& audiences,
                                const JwtKeyOf& key_of, WallTime now);
// The same without the signature: for what the Workload API handed us itself.
Result<JwtSvid> parse_jwt_svid_insecure(std::string_view token,
                                        const std::vector<std::string>& audiences, WallTime now);

}  // namespace steeple::jose
