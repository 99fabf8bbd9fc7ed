// SPDX-License-Identifier: Apache-2.0

// JSON Web Keys and key sets (RFC 7517), public and asymmetric only. Encodes byte for byte as
// go-jose does (field order use, kty, kid, crv, alg, x, y, n, e, x5c), because SPIRE's documents
// are compared as text by users. Pure functions, any thread.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/crypto/public_key.h"

namespace steeple::jose {

struct Jwk {
  crypto::PublicKey key;
  std::string key_id = {};
  std::string use = {};
  std::string algorithm = {};
  std::vector<Bytes> certificates = {};  // x5c, DER, leaf first
};

inline constexpr std::size_t kJwksKeysMax = 10'000;

enum class JsonStyle : std::uint8_t {
  kCompact,     // no white space: go-spiffe's Marshal, the Workload API
  kIndented,    // four spaces: SPIRE's bundle endpoint, `bundle show -format spiffe`
  kIndentedTwo  // two spaces: the OIDC discovery provider
};

// {"kty":"EC",...}: one key, compact.
std::string encode_jwk(const Jwk& key);
Result<Jwk> parse_jwk(std::string_view json);

// {"keys":[...]}
std::string encode_jwks(const std::vector<Jwk>& keys, JsonStyle style);
// Keys of kinds we do not know are left out; a broken key of a known kind is an error.
Result<std::vector<Jwk>> parse_jwks(std::string_view json);

// RFC 7638, SHA-256, base64url.
std::string thumbprint(const crypto::PublicKey& key);

}  // namespace steeple::jose
