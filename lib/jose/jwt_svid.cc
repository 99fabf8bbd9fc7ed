// SPDX-License-Identifier: Apache-2.0

#include "lib/jose/jwt_svid.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "lib/base/limits.h"
#include "lib/jose/json.h"
#include "lib/jose/jws.h"

namespace steeple::jose {
namespace {

using nlohmann::json;

constexpr std::size_t kAudiencesMax = 1024;
// Beyond this a date does not fit our time type (year 2262).
constexpr double kDateSecondsMax = 9'223'372'036.0;

// ["a" "b"], as Go prints a list of strings with %q.
std::string quoted_list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    out += (out.size() > 1 ? " " : "");
    out += json_string(item);
  }
  return out + ']';
}

// NumericDate (RFC 7519 section 2), fractions cut off.
Result<std::optional<WallTime>> date_member(const json& claims, const char* name) {
  auto found = claims.find(name);
  if (found == claims.end() || found->is_null()) {
    return std::optional<WallTime>();
  }
  if (!found->is_number()) {
    return invalid_argument(
        fmt::format("unable to get claims from token: \"{}\" is no number", name));
  }
  double seconds = found->get<double>();
  if (!(std::abs(seconds) < kDateSecondsMax)) {
    return invalid_argument(
        fmt::format("unable to get claims from token: \"{}\" is out of range", name));
  }
  return std::optional(from_unix_seconds(found->is_number_integer()
                                             ? found->get<std::int64_t>()
                                             : static_cast<std::int64_t>(seconds)));
}

Result<std::vector<std::string>> audience_member(const json& claims) {
  std::vector<std::string> out;
  auto found = claims.find("aud");
  if (found == claims.end() || found->is_null()) {
    return out;
  }
  if (found->is_string()) {
    out.push_back(found->get<std::string>());
    return out;
  }
  bool strings =
      found->is_array() && found->size() <= kAudiencesMax &&
      std::all_of(found->begin(), found->end(), [](const json& item) { return item.is_string(); });
  if (!strings) {
    return invalid_argument(
        "unable to get claims from token: expected string or array of strings as audience");
  }
  for (const json& item : *found) {
    out.push_back(item.get<std::string>());
  }
  return out;
}

struct Claims {
  std::string subject;
  std::vector<std::string> audience;
  std::optional<WallTime> expires_at, not_before, issued_at;
};

Result<Claims> read_claims(std::string_view payload) {
  json object =
      TRY(parse_object(payload, limits::kTokenBytesMax).during("unable to get claims from token"));
  Claims claims;
  claims.subject = TRY(string_member(object, "sub").during("unable to get claims from token"));
  claims.audience = TRY(audience_member(object));
  claims.expires_at = TRY(date_member(object, "exp"));
  claims.not_before = TRY(date_member(object, "nbf"));
  claims.issued_at = TRY(date_member(object, "iat"));
  return claims;
}

// JWT-SVID section 3 and 5, in go-jose's order.
Result<void> check_claims(const Claims& claims, const std::vector<std::string>& audiences,
                          WallTime now) {
  bool meant_for_us =
      audiences.empty() ||
      std::any_of(audiences.begin(), audiences.end(), [&](const std::string& wanted) {
        return std::find(claims.audience.begin(), claims.audience.end(), wanted) !=
               claims.audience.end();
      });
  if (!meant_for_us) {
    return invalid_argument(fmt::format("expected audience in {} (audience={})",
                                        quoted_list(audiences), quoted_list(claims.audience)));
  }
  if (claims.not_before && now + kJwtLeeway < *claims.not_before) {
    return invalid_argument("token is not valid yet (nbf)");
  }
  if (now - kJwtLeeway > *claims.expires_at) {
    return invalid_argument("token has expired");
  }
  if (claims.issued_at && now + kJwtLeeway < *claims.issued_at) {
    return invalid_argument("token was issued in the future (iat)");
  }
  return {};
}

// Null `key_of`: the signature is not looked at.
Result<JwtSvid> check_token(std::string_view token, const std::vector<std::string>& audiences,
                            const JwtKeyOf* key_of, WallTime now) {
  auto parsed = Jws::parse(token);
  if (!parsed.ok()) {
    return invalid_argument(fmt::format("unable to parse JWT token: {}", parsed.error().message));
  }
  const Jws& jws = *parsed;
  const auto& type = jws.header().type;
  if (type && *type != "JWT" && *type != "JOSE") {
    return invalid_argument("token header type not equal to either JWT or JOSE");
  }
  Claims claims = TRY(read_claims(jws.unverified_payload()));
  if (claims.subject.empty()) {
    return invalid_argument("token missing subject claim");
  }
  if (!claims.expires_at) {
    return invalid_argument("token missing exp claim");
  }
  auto id = spiffe::SpiffeId::parse(claims.subject);
  if (!id.ok()) {
    return invalid_argument(
        fmt::format("token has an invalid subject claim: {}", id.error().message));
  }
  if (key_of != nullptr) {
    if (jws.header().key_id.empty()) {
      return invalid_argument("token header missing key id");
    }
    auto key = TRY((*key_of)(id->trust_domain(), jws.header().key_id));
    TRY(jws.verify(*key).during("unable to get claims from token"));
  }
  TRY(check_claims(claims, audiences, now));
  return JwtSvid{std::move(*id),   std::move(claims.audience), *claims.expires_at,
                 claims.issued_at, std::string(token),         jws.unverified_payload()};
}

}  // namespace

std::string random_jti(Random& random) {
  Bytes bytes = random.bytes(16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  return base64url_encode(bytes);
}

Result<std::string> sign_jwt_svid(const JwtSvidClaims& claims, const crypto::Signer& key,
                                  std::string_view key_id) {
  std::string audience;
  for (const std::string& item : claims.audience) {
    if (!item.empty()) {
      audience += (audience.empty() ? "" : ",");
      audience += json_string(item);
    }
  }
  if (audience.empty()) {
    return invalid_argument("invalid JWT-SVID audience: cannot be empty");
  }
  // Go writes the members of a map in the order of their names.
  std::string payload =
      fmt::format("{{\"aud\":[{}],\"exp\":{},\"iat\":{}", audience,
                  to_unix_seconds(claims.expires_at), to_unix_seconds(claims.issued_at));
  if (!claims.issuer.empty()) {
    payload += ",\"iss\":" + json_string(claims.issuer);
  }
  if (!claims.jti.empty()) {
    payload += ",\"jti\":" + json_string(claims.jti);
  }
  payload += ",\"sub\":" + json_string(claims.subject.text()) + '}';
  return sign_jws(key, key_id, "JWT", payload);
}

Result<JwtSvid> verify_jwt_svid(std::string_view token, const std::vector<std::string>& audiences,
                                const JwtKeyOf& key_of, WallTime now) {
  return check_token(token, audiences, &key_of, now);
}

Result<JwtSvid> parse_jwt_svid_insecure(std::string_view token,
                                        const std::vector<std::string>& audiences, WallTime now) {
  return check_token(token, audiences, nullptr, now);
}

}  // namespace steeple::jose
