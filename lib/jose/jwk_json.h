// SPDX-License-Identifier: Apache-2.0

// Inside lib/jose only, and only for its .cc files: JWKs from parsed JSON.

#pragma once

#include "lib/jose/json.h"
#include "lib/jose/jwk.h"

namespace steeple::jose {

// Nothing for a key type or curve we do not speak.
Result<std::optional<Jwk>> read_jwk(const nlohmann::json& object);
// The "keys" of a set; it must be an array.
Result<std::vector<Jwk>> read_jwks(const nlohmann::json& object);
// "keys":[...] without braces around it.
std::string encode_keys_member(const std::vector<Jwk>& keys);

}  // namespace steeple::jose
