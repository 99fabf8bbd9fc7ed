// SPDX-License-Identifier: Apache-2.0

#include "lib/x509pop/x509pop.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "lib/base/check.h"
#include "lib/crypto/der.h"

namespace steeple::x509pop {

namespace {

using Json = nlohmann::json;

constexpr int kJsonDepthMax = 8;
constexpr std::size_t kCertificatesMax = 100;  // the attestor's own limit is lower

// nlohmann recurses on depth, so depth is counted while it reads.
Result<Json> parse_object(ByteView text) {
  if (text.size() > kPayloadBytesMax) {
    return invalid_argument(fmt::format("payload of {} bytes is too large", text.size()));
  }
  bool too_deep = false;
  auto callback = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > kJsonDepthMax;
    return !too_deep;
  };
  Json json = Json::parse(text, callback, /*allow_exceptions=*/false);
  if (too_deep || json.is_discarded() || !json.is_object()) {
    return invalid_argument("invalid JSON object");
  }
  return json;
}

// Go's []byte in JSON: padded base64, null for none.
Result<Bytes> bytes_of(const Json& value, std::string_view what) {
  if (value.is_null()) {
    return Bytes();
  }
  if (!value.is_string()) {
    return invalid_argument(fmt::format("\"{}\" is not a string", what));
  }
  return base64_decode(value.get_ref<const std::string&>()).during(fmt::format("\"{}\"", what));
}

Result<Bytes> member_bytes(const Json& object, const char* name) {
  auto at = object.find(name);
  return at == object.end() ? Result<Bytes>(Bytes()) : bytes_of(*at, name);
}

struct SchemeObject {
  Scheme scheme;
  const Json* object;
};

// The one of the two members that is an object.
Result<SchemeObject> scheme_of(const Json& json) {
  auto member = [&json](const char* name) -> const Json* {
    auto at = json.find(name);
    return at == json.end() || at->is_null() ? nullptr : &*at;
  };
  const Json* rsa = member("rsa_signature");
  const Json* ecdsa = member("ecdsa_signature");
  const Json* found = rsa != nullptr ? rsa : ecdsa;
  if (found == nullptr || (rsa != nullptr && ecdsa != nullptr) || !found->is_object()) {
    // Well formed, but it proves nothing: the caller treats it as a failed proof.
    return Error{Code::kUnauthenticated,
                 "expecting one of \"rsa_signature\" and \"ecdsa_signature\""};
  }
  return SchemeObject{rsa != nullptr ? Scheme::kRsa : Scheme::kEcdsa, found};
}

std::string with_scheme(Scheme scheme, std::string_view object) {
  return scheme == Scheme::kRsa
             ? fmt::format(R"({{"rsa_signature":{},"ecdsa_signature":null}})", object)
             : fmt::format(R"({{"rsa_signature":null,"ecdsa_signature":{}}})", object);
}

bool is_rsa(const crypto::PublicKey& key) { return key.kind() == crypto::KeyKind::kRsa; }

struct EcdsaNumbers {
  ByteView r, s;  // magnitudes without leading zeros
};

Result<EcdsaNumbers> split_ecdsa(ByteView der) {
  auto sequence = TRY(crypto::der_enter_only(der, crypto::tag::kSequence));
  ByteView r = TRY(sequence.unsigned_integer());
  ByteView s = TRY(sequence.unsigned_integer());
  TRY(sequence.finish());
  return EcdsaNumbers{r, s};
}

// What both sides sign; the hash is the signature algorithm's.
Result<Bytes> combine(ByteView challenge, ByteView response) {
  if (challenge.size() != kNonceBytes) {
    return invalid_argument("invalid challenge nonce");
  }
  if (response.size() != kNonceBytes) {
    return invalid_argument("invalid response nonce");
  }
  return Bytes(challenge) + Bytes(response);
}

}  // namespace

std::string encode_attestation(const std::vector<Bytes>& certificates) {
  std::string out = R"({"certificates":[)";
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    out += i == 0 ? "\"" : ",\"";
    out += base64_encode(certificates[i]);
    out += '"';
  }
  return out + "]}";
}

Result<std::vector<Bytes>> parse_attestation(ByteView text) {
  const Json json = TRY(parse_object(text));
  std::vector<Bytes> out;
  auto list = json.find("certificates");
  if (list == json.end() || list->is_null()) {
    return out;
  }
  if (!list->is_array() || list->size() > kCertificatesMax) {
    return invalid_argument("\"certificates\" is not a list of certificates");
  }
  for (const Json& item : *list) {
    out.push_back(TRY(bytes_of(item, "certificates")));
  }
  return out;
}

std::string encode_challenge(const Challenge& challenge) {
  return with_scheme(challenge.scheme,
                     fmt::format(R"({{"nonce":"{}"}})", base64_encode(challenge.nonce)));
}

Result<Challenge> parse_challenge(ByteView text) {
  const Json json = TRY(parse_object(text));
  const SchemeObject found = TRY(scheme_of(json));
  Bytes nonce = TRY(member_bytes(*found.object, "nonce"));
  return Challenge{found.scheme, std::move(nonce)};
}

std::string encode_response(const Response& response) {
  const std::string nonce = base64_encode(response.nonce);
  if (response.scheme == Scheme::kRsa) {
    return with_scheme(response.scheme, fmt::format(R"({{"nonce":"{}","signature":"{}"}})", nonce,
                                                    base64_encode(response.signature)));
  }
  auto numbers = split_ecdsa(response.signature);
  CHECK(numbers.ok());  // made by `respond` or `parse_response`
  return with_scheme(response.scheme,
                     fmt::format(R"({{"nonce":"{}","r":"{}","s":"{}"}})", nonce,
                                 base64_encode(numbers->r), base64_encode(numbers->s)));
}

Result<Response> parse_response(ByteView text) {
  const Json json = TRY(parse_object(text));
  const SchemeObject found = TRY(scheme_of(json));
  Response out{found.scheme, {}, {}};
  out.nonce = TRY(member_bytes(*found.object, "nonce"));
  if (found.scheme == Scheme::kRsa) {
    out.signature = TRY(member_bytes(*found.object, "signature"));
    return out;
  }
  const Bytes r = TRY(member_bytes(*found.object, "r"));
  const Bytes s = TRY(member_bytes(*found.object, "s"));
  out.signature =
      crypto::der_sequence({crypto::der_unsigned_integer(r), crypto::der_unsigned_integer(s)});
  return out;
}

Result<Challenge> make_challenge(const x509::Certificate& leaf, Random& random) {
  if (!leaf.has_key_usage(x509::key_usage::kDigitalSignature)) {
    return internal("certificate not intended for digital signature use");
  }
  return Challenge{is_rsa(leaf.public_key()) ? Scheme::kRsa : Scheme::kEcdsa,
                   random.bytes(kNonceBytes)};
}

Result<void> verify_response(const crypto::PublicKey& key, const Challenge& challenge,
                             const Response& response) {
  const bool rsa = is_rsa(key);
  const Scheme wanted = rsa ? Scheme::kRsa : Scheme::kEcdsa;
  const std::string_view name = rsa ? "RSA" : "ECDSA";
  if (challenge.scheme != wanted) {
    return permission_denied(fmt::format("expecting {} challenge", name));
  }
  if (response.scheme != wanted) {
    return permission_denied(fmt::format("expecting {} response", name));
  }
  auto combined = combine(challenge.nonce, response.nonce);
  if (!combined.ok()) {
    return permission_denied(combined.error().message);
  }
  auto verified =
      rsa ? key.verify_pss_any_salt(*combined, response.signature)
          : key.verify(crypto::SignatureAlgorithm::kEcdsaSha256, *combined, response.signature);
  if (!verified.ok()) {
    return permission_denied(fmt::format("{} signature verify failed", name));
  }
  return {};
}

Result<Response> respond(const crypto::Signer& key, const Challenge& challenge, Random& random) {
  const bool rsa = is_rsa(key.public_key());
  if (challenge.scheme != (rsa ? Scheme::kRsa : Scheme::kEcdsa)) {
    return invalid_argument(rsa ? "expecting RSA challenge" : "expecting ECDSA challenge");
  }
  Response out{challenge.scheme, random.bytes(kNonceBytes), {}};
  const Bytes combined = TRY(combine(challenge.nonce, out.nonce));
  out.signature = TRY(key.sign(
      rsa ? crypto::SignatureAlgorithm::kRsaPssSha256 : crypto::SignatureAlgorithm::kEcdsaSha256,
      combined));
  return out;
}

}  // namespace steeple::x509pop
