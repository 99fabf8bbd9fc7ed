// SPDX-License-Identifier: Apache-2.0

// A public key, checked once when it is read: P-256, P-384 or P-521 with the point on the curve, or
// RSA of 2048 to 8192 bits. Immutable, cheap to copy, any thread. Verification runs on OpenSSL's
// curve code without its decoders, which cost more than the signature check itself in 3.0.

#pragma once

#include <memory>
#include <optional>

#include "lib/base/bytes.h"
#include "lib/crypto/key_type.h"

namespace steeple::crypto {

enum class KeyKind : std::uint8_t { kEcP256, kEcP384, kEcP521, kRsa };

class PublicKey {
 public:
  // SubjectPublicKeyInfo, DER, nothing after it (RFC 5480, RFC 3279).
  static Result<PublicKey> from_spki(ByteView der);
  // "-----BEGIN PUBLIC KEY-----", one block.
  static Result<PublicKey> from_pem(std::string_view pem);
  // From JWK parts. x and y are unsigned big-endian, as long as the curve's field.
  static Result<PublicKey> from_ec(KeyKind curve, ByteView x, ByteView y);
  static Result<PublicKey> from_rsa(ByteView modulus, ByteView exponent);

  const Bytes& spki() const { return *spki_; }
  KeyKind kind() const { return kind_; }
  int bits() const { return bits_; }  // RSA modulus or curve field, 521 for P-521
  // Nothing for keys that no configuration asks for (P-521, RSA 3072).
  std::optional<KeyType> key_type() const;

  // The content of the BIT STRING: an uncompressed point, or an RSAPublicKey.
  ByteView key_bits() const { return ByteView(*spki_).substr(key_bits_at_); }
  // RFC 5280 4.2.1.2 (1): SHA-1 of the BIT STRING's content; 20 bytes.
  Bytes subject_key_id() const;
  // EC coordinates, or RSA modulus and exponent without leading zeros, for JWKs.
  struct Numbers {
    ByteView first;   // x or n
    ByteView second;  // y or e
  };
  Numbers numbers() const;

  std::string to_pem() const;

  // Fails with kUnauthenticated when the signature is not this key's, or when the algorithm does
  // not fit the key.
  Result<void> verify(SignatureAlgorithm algorithm, ByteView message, ByteView signature) const;
  // RSA-PSS with SHA-256 and a salt of any length: Go signs with the longest one that fits
  // (x509pop).
  Result<void> verify_pss_any_salt(ByteView message, ByteView signature) const;

  friend bool operator==(const PublicKey& a, const PublicKey& b) { return *a.spki_ == *b.spki_; }

 private:
  struct Native;  // OpenSSL's form; made for RSA only
  PublicKey() = default;
  static Result<PublicKey> read_ec(PublicKey key, ByteView point);
  static Result<PublicKey> read_rsa(PublicKey key, ByteView rsa_public_key);

  std::shared_ptr<const Bytes> spki_;
  std::shared_ptr<const Native> native_;
  std::size_t key_bits_at_ = 0;
  std::size_t first_at_ = 0, first_size_ = 0;  // Numbers, as offsets into spki_
  std::size_t second_at_ = 0, second_size_ = 0;
  int bits_ = 0;
  KeyKind kind_ = KeyKind::kEcP256;
};

}  // namespace steeple::crypto
