// SPDX-License-Identifier: Apache-2.0

// Compact JWS (RFC 7515) with asymmetric algorithms only: there is no code for "none" or HMAC here.
// Reading is strict: three canonical base64url parts, one JSON object as header, no duplicate
// members, no `crit`. Pure functions, any thread.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/crypto/private_key.h"

namespace steeple::jose {

// "ES256" and so on. Nothing for other names.
std::optional<crypto::SignatureAlgorithm> algorithm_from_name(std::string_view name);
std::string_view algorithm_name(crypto::SignatureAlgorithm algorithm);

struct JwsHeader {
  crypto::SignatureAlgorithm algorithm{};
  std::string key_id = {};
  std::optional<std::string> type = {};  // "typ" as it stands there
};

// header {"alg","kid","typ"} in that order, as SPIRE's. `payload` is the JSON text.
Result<std::string> sign_jws(const crypto::Signer& key, std::string_view key_id,
                             std::string_view type, std::string_view payload);

// Parsed, not yet verified.
class Jws {
 public:
  // kInvalidArgument for whatever is not a compact JWS with an allowed algorithm.
  static Result<Jws> parse(std::string_view token);

  const JwsHeader& header() const { return header_; }
  const Bytes& unverified_payload() const { return payload_; }
  // kUnauthenticated when the signature is not of this key.
  Result<void> verify(const crypto::PublicKey& key) const;

 private:
  Jws() = default;
  JwsHeader header_;
  Bytes payload_, signed_text_, signature_;
};

}  // namespace steeple::jose
