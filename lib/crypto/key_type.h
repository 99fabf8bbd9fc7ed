// SPDX-License-Identifier: Apache-2.0

// The key types that configuration can ask for, and the signature algorithms that X.509 and JOSE
// share. Foreign public keys may be of more kinds than we generate (public_key.h).

#pragma once

#include <cstdint>
#include <string_view>

#include "lib/base/result.h"

namespace steeple::crypto {

enum class KeyType : std::uint8_t { kEcP256, kEcP384, kRsa2048, kRsa4096 };

// "ec-p256", "ec-p384", "rsa-2048", "rsa-4096": SPIRE's spellings (ca_key_type, jwt_key_type,
// workload_x509_svid_key_type).
Result<KeyType> parse_key_type(std::string_view name);
std::string_view key_type_name(KeyType type);

// A signature algorithm with its hash. ECDSA signatures are DER (Ecdsa-Sig-Value, RFC 3279);
// lib/jose turns them into r||s.
enum class SignatureAlgorithm : std::uint8_t {
  kEcdsaSha256,
  kEcdsaSha384,
  kEcdsaSha512,
  kRsaPkcs1Sha256,
  kRsaPkcs1Sha384,
  kRsaPkcs1Sha512,
  kRsaPssSha256,  // salt as long as the hash
  kRsaPssSha384,
  kRsaPssSha512,
};

// What SPIRE signs certificates and tokens with: SHA-256 for P-256 and RSA, SHA-384 for P-384.
SignatureAlgorithm default_algorithm(KeyType type);

}  // namespace steeple::crypto
