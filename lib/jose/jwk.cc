// SPDX-License-Identifier: Apache-2.0

#include "lib/jose/jwk.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/base/limits.h"
#include "lib/crypto/hash.h"
#include "lib/jose/json.h"
#include "lib/jose/jwk_json.h"
#include "lib/x509/certificate.h"

namespace steeple::jose {
namespace {

using crypto::KeyKind;
using nlohmann::json;

struct NamedCurve {
  KeyKind kind;
  std::string_view name;
};
constexpr std::array<NamedCurve, 3> kCurves = {
    {{KeyKind::kEcP256, "P-256"}, {KeyKind::kEcP384, "P-384"}, {KeyKind::kEcP521, "P-521"}}};

std::string_view curve_name(KeyKind kind) {
  for (const NamedCurve& curve : kCurves) {
    if (curve.kind == kind) {
      return curve.name;
    }
  }
  check_failed("no curve");
}

Result<Bytes> number_member(const json& object, const char* name) {
  std::string text = TRY(string_member(object, name));
  if (text.empty()) {
    return invalid_argument(fmt::format("invalid JWK: missing \"{}\"", name));
  }
  return base64url_decode(text).during(fmt::format("invalid JWK: member \"{}\"", name));
}

// Nothing for a curve we do not speak.
Result<std::optional<crypto::PublicKey>> read_ec(const json& object) {
  std::string curve = TRY(string_member(object, "crv"));
  for (const NamedCurve& known : kCurves) {
    if (known.name == curve) {
      Bytes x = TRY(number_member(object, "x"));
      Bytes y = TRY(number_member(object, "y"));
      return std::optional(TRY(crypto::PublicKey::from_ec(known.kind, x, y)));
    }
  }
  return std::optional<crypto::PublicKey>();
}

Result<std::optional<crypto::PublicKey>> read_key(const json& object) {
  std::string type = TRY(string_member(object, "kty"));
  if (type.empty()) {
    return invalid_argument("invalid JWK: missing key type");
  }
  if (type != "EC" && type != "RSA") {
    return std::optional<crypto::PublicKey>();
  }
  if (object.contains("d")) {
    return invalid_argument("invalid JWK: private key where a public one belongs");
  }
  if (type == "EC") {
    return read_ec(object);
  }
  Bytes modulus = TRY(number_member(object, "n"));
  Bytes exponent = TRY(number_member(object, "e"));
  return std::optional(TRY(crypto::PublicKey::from_rsa(modulus, exponent)));
}

Result<std::vector<Bytes>> read_certificates(const json& object, const crypto::PublicKey& key) {
  std::vector<Bytes> out;
  auto chain = object.find("x5c");
  if (chain == object.end() || chain->is_null()) {
    return out;
  }
  if (!chain->is_array() || chain->size() > limits::kChainCertificatesMax) {
    return invalid_argument("invalid JWK: bad x5c");
  }
  for (const json& item : *chain) {
    if (!item.is_string()) {
      return invalid_argument("invalid JWK: bad x5c");
    }
    auto decoded = base64_decode(item.get_ref<const std::string&>());
    out.push_back(TRY(std::move(decoded).during("invalid JWK: x5c")));
  }
  if (!out.empty()) {
    auto leaf = TRY(x509::Certificate::parse(out.front()).during("invalid JWK: x5c"));
    if (leaf->public_key() != key) {
      return invalid_argument("invalid JWK: public keys in key and x5c fields do not match");
    }
  }
  return out;
}

void append(std::string& out, std::string_view name, std::string_view value) {
  if (!value.empty()) {
    out += fmt::format("{}\"{}\":{}", out.size() > 1 ? "," : "", name, json_string(value));
  }
}

}  // namespace

Result<std::optional<Jwk>> read_jwk(const json& object) {
  if (!object.is_object()) {
    return invalid_argument("invalid JWK: not an object");
  }
  std::optional<crypto::PublicKey> key = TRY(read_key(object));
  if (!key) {
    return std::optional<Jwk>();
  }
  Jwk jwk{std::move(*key)};
  jwk.key_id = TRY(string_member(object, "kid"));
  jwk.use = TRY(string_member(object, "use"));
  jwk.algorithm = TRY(string_member(object, "alg"));
  jwk.certificates = TRY(read_certificates(object, jwk.key));
  return std::optional(std::move(jwk));
}

Result<std::vector<Jwk>> read_jwks(const json& object) {
  auto keys = object.find("keys");
  if (keys == object.end() || !keys->is_array()) {
    return invalid_argument("no authorities found");
  }
  if (keys->size() > kJwksKeysMax) {
    return invalid_argument("too many keys");
  }
  std::vector<Jwk> out;
  for (const json& item : *keys) {
    if (std::optional<Jwk> jwk = TRY(read_jwk(item))) {
      out.push_back(std::move(*jwk));
    }
  }
  return out;
}

std::string encode_jwk(const Jwk& jwk) {
  bool rsa = jwk.key.kind() == KeyKind::kRsa;
  auto [first, second] = jwk.key.numbers();
  std::string out = "{";
  append(out, "use", jwk.use);
  append(out, "kty", rsa ? "RSA" : "EC");
  append(out, "kid", jwk.key_id);
  append(out, "crv", rsa ? "" : curve_name(jwk.key.kind()));
  append(out, "alg", jwk.algorithm);
  append(out, rsa ? "n" : "x", base64url_encode(first));
  append(out, rsa ? "e" : "y", base64url_encode(second));
  if (!jwk.certificates.empty()) {
    out += ",\"x5c\":[";
    for (const Bytes& der : jwk.certificates) {
      out += fmt::format("{}\"{}\"", out.back() == '[' ? "" : ",", base64_encode(der));
    }
    out += ']';
  }
  return out + '}';
}

std::string encode_keys_member(const std::vector<Jwk>& keys) {
  std::string out = "\"keys\":[";
  for (const Jwk& key : keys) {
    out += (out.back() == '[' ? "" : ",");
    out += encode_jwk(key);
  }
  return out + ']';
}

std::string encode_jwks(const std::vector<Jwk>& keys, JsonStyle style) {
  std::string compact = '{' + encode_keys_member(keys) + '}';
  return style == JsonStyle::kCompact ? compact
                                      : indent_json(compact, style == JsonStyle::kIndented ? 4 : 2);
}

Result<Jwk> parse_jwk(std::string_view text) {
  json object = TRY(parse_object(text, limits::kTokenBytesMax));
  std::optional<Jwk> jwk = TRY(read_jwk(object));
  if (!jwk) {
    return invalid_argument("unsupported JWK key type");
  }
  return std::move(*jwk);
}

Result<std::vector<Jwk>> parse_jwks(std::string_view text) {
  json object = TRY(parse_object(text, limits::kBundleBytesMax));
  return read_jwks(object);
}

std::string thumbprint(const crypto::PublicKey& key) {
  auto [first, second] = key.numbers();
  std::string canonical =
      key.kind() == KeyKind::kRsa
          ? fmt::format("{{\"e\":\"{}\",\"kty\":\"RSA\",\"n\":\"{}\"}}", base64url_encode(second),
                        base64url_encode(first))
          : fmt::format("{{\"crv\":\"{}\",\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}",
                        curve_name(key.kind()), base64url_encode(first), base64url_encode(second));
  return base64url_encode(crypto::sha256(canonical));
}

}  // namespace steeple::jose
