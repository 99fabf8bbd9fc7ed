// SPDX-License-Identifier: Apache-2.0

// The conversation of the node attestor x509pop, both halves: JSON wire forms and the proof that
// somebody holds the key of a certificate. Challenger and responder each give 32 random bytes; the
// responder signs SHA-256(challenge || response): RSA-PSS for RSA keys, ECDSA as the numbers r and
// s for EC keys. Pure functions, any thread.

#pragma once

#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/crypto/private_key.h"
#include "lib/crypto/public_key.h"
#include "lib/x509/certificate.h"

namespace steeple::x509pop {

inline constexpr std::size_t kNonceBytes = 32;
inline constexpr std::size_t kPayloadBytesMax = std::size_t{1} << 20;

// {"certificates": ["<base64 DER>", ...]}, leaf first.
std::string encode_attestation(const std::vector<Bytes>& certificates);
Result<std::vector<Bytes>> parse_attestation(ByteView json);

enum class Scheme : std::uint8_t { kRsa, kEcdsa };

// {"rsa_signature": {"nonce"}, "ecdsa_signature": null} or the other way round.
struct Challenge {
  Scheme scheme;
  Bytes nonce;
};
std::string encode_challenge(const Challenge& challenge);
Result<Challenge> parse_challenge(ByteView json);

// {"rsa_signature": {"nonce", "signature"}} or {"ecdsa_signature": {"nonce", "r", "s"}}.
struct Response {
  Scheme scheme;
  Bytes nonce;
  Bytes signature;  // RSA: as is; ECDSA: Ecdsa-Sig-Value, DER
};
std::string encode_response(const Response& response);
Result<Response> parse_response(ByteView json);

// The challenger. Fails when the certificate is not for digital signatures.
Result<Challenge> make_challenge(const x509::Certificate& leaf, Random& random);
// kPermissionDenied with the reference's text ("RSA signature verify failed").
Result<void> verify_response(const crypto::PublicKey& key, const Challenge& challenge,
                             const Response& response);

// The responder.
Result<Response> respond(const crypto::Signer& key, const Challenge& challenge, Random& random);

}  // namespace steeple::x509pop
