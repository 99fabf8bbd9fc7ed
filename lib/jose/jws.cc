// SPDX-License-Identifier: Apache-2.0

#include "lib/jose/jws.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "lib/base/limits.h"
#include "lib/crypto/der.h"
#include "lib/jose/json.h"

namespace steeple::jose {
namespace {

using crypto::KeyKind;
using crypto::SignatureAlgorithm;
using nlohmann::json;

constexpr std::size_t kHeaderBytesMax = 4096;
constexpr std::size_t kKeyIdBytesMax = 1024;

struct Algorithm {
  SignatureAlgorithm algorithm;
  std::string_view name;
  KeyKind kind;            // RFC 7518 3.4 ties each ES algorithm to its curve
  std::size_t coordinate;  // bytes of r and of s; 0 for RSA
};
constexpr std::array<Algorithm, 9> kAlgorithms = {{
    {SignatureAlgorithm::kEcdsaSha256, "ES256", KeyKind::kEcP256, 32},
    {SignatureAlgorithm::kEcdsaSha384, "ES384", KeyKind::kEcP384, 48},
    {SignatureAlgorithm::kEcdsaSha512, "ES512", KeyKind::kEcP521, 66},
    {SignatureAlgorithm::kRsaPkcs1Sha256, "RS256", KeyKind::kRsa, 0},
    {SignatureAlgorithm::kRsaPkcs1Sha384, "RS384", KeyKind::kRsa, 0},
    {SignatureAlgorithm::kRsaPkcs1Sha512, "RS512", KeyKind::kRsa, 0},
    {SignatureAlgorithm::kRsaPssSha256, "PS256", KeyKind::kRsa, 0},
    {SignatureAlgorithm::kRsaPssSha384, "PS384", KeyKind::kRsa, 0},
    {SignatureAlgorithm::kRsaPssSha512, "PS512", KeyKind::kRsa, 0},
}};

const Algorithm& properties(SignatureAlgorithm algorithm) {
  const Algorithm& found = kAlgorithms[static_cast<std::size_t>(algorithm)];
  CHECK(found.algorithm == algorithm);
  return found;
}

// Ecdsa-Sig-Value to r||s of fixed width.
Result<Bytes> der_to_raw(ByteView signature, std::size_t coordinate) {
  crypto::DerReader reader = TRY(crypto::der_enter_only(signature, crypto::tag::kSequence));
  Bytes out;
  for (int i = 0; i < 2; ++i) {
    ByteView number = TRY(reader.unsigned_integer());
    if (number.size() > coordinate) {
      return internal("signature is out of range");
    }
    out.append(coordinate - number.size(), '\0');
    out += number;
  }
  TRY(reader.finish());
  return out;
}

Bytes raw_to_der(ByteView signature) {
  std::size_t half = signature.size() / 2;
  return crypto::der_sequence({crypto::der_unsigned_integer(signature.substr(0, half)),
                               crypto::der_unsigned_integer(signature.substr(half))});
}

Result<JwsHeader> read_header(std::string_view text) {
  json object = TRY(parse_object(text, kHeaderBytesMax));
  // RFC 7515 4.1.11: who does not understand all of crit must refuse, and we extend nothing.
  if (object.contains("crit")) {
    return invalid_argument("header \"crit\" is not supported");
  }
  JwsHeader header;
  std::string name = TRY(string_member(object, "alg"));
  auto algorithm = algorithm_from_name(name);
  if (!algorithm) {
    return invalid_argument(fmt::format("unexpected signature algorithm \"{}\"", name));
  }
  header.algorithm = *algorithm;
  header.key_id = TRY(string_member(object, "kid"));
  if (header.key_id.size() > kKeyIdBytesMax) {
    return invalid_argument("key id is too long");
  }
  if (object.contains("typ")) {
    header.type = TRY(string_member(object, "typ"));
  }
  return header;
}

}  // namespace

std::optional<SignatureAlgorithm> algorithm_from_name(std::string_view name) {
  for (const Algorithm& known : kAlgorithms) {
    if (known.name == name) {
      return known.algorithm;
    }
  }
  return std::nullopt;
}

std::string_view algorithm_name(SignatureAlgorithm algorithm) { return properties(algorithm).name; }

Result<std::string> sign_jws(const crypto::Signer& key, std::string_view key_id,
                             std::string_view type, std::string_view payload) {
  SignatureAlgorithm algorithm = crypto::default_algorithm(key.key_type());
  std::string header =
      fmt::format("{{\"alg\":\"{}\",\"kid\":{},\"typ\":{}}}", algorithm_name(algorithm),
                  json_string(key_id), json_string(type));
  std::string token = base64url_encode(header) + '.' + base64url_encode(payload);
  Bytes signature = TRY(key.sign(algorithm, token));
  if (std::size_t coordinate = properties(algorithm).coordinate) {
    signature = TRY(der_to_raw(signature, coordinate));
  }
  return token + '.' + base64url_encode(signature);
}

Result<Jws> Jws::parse(std::string_view token) {
  if (token.size() > limits::kTokenBytesMax) {
    return invalid_argument("token is too large");
  }
  std::size_t first = token.find('.');
  std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return invalid_argument("compact JWS format must have three parts");
  }
  Bytes header = TRY(base64url_decode(token.substr(0, first)));
  Jws jws;
  jws.header_ = TRY(read_header(header));
  jws.payload_ = TRY(base64url_decode(token.substr(first + 1, second - first - 1)));
  jws.signature_ = TRY(base64url_decode(token.substr(second + 1)));
  jws.signed_text_ = Bytes(token.substr(0, second));
  if (jws.payload_.empty() || jws.signature_.empty()) {
    return invalid_argument("compact JWS with an empty part");
  }
  return jws;
}

Result<void> Jws::verify(const crypto::PublicKey& key) const {
  const Algorithm& algorithm = properties(header_.algorithm);
  Error bad{Code::kUnauthenticated, "error in cryptographic primitive"};
  if (key.kind() != algorithm.kind) {
    return bad;
  }
  if (algorithm.coordinate != 0 && signature_.size() != 2 * algorithm.coordinate) {
    return bad;
  }
  bool good = algorithm.coordinate == 0
                  ? key.verify(header_.algorithm, signed_text_, signature_).ok()
                  : key.verify(header_.algorithm, signed_text_, raw_to_der(signature_)).ok();
  if (!good) {
    return bad;
  }
  return {};
}

}  // namespace steeple::jose
