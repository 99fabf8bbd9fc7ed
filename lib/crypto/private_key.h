// SPDX-License-Identifier: Apache-2.0

// Private keys and the seam behind which they may live elsewhere. Signer signs and says which
// public key it is of (a key manager's key, also one in a KMS); PrivateKey is one in our memory,
// generated here or read from PKCS#8. Immutable after construction; any thread may sign.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/base/secret_bytes.h"
#include "lib/crypto/key_type.h"
#include "lib/crypto/public_key.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace steeple::crypto {

class Signer {
 public:
  virtual ~Signer() = default;
  virtual KeyType key_type() const = 0;
  virtual const PublicKey& public_key() const = 0;
  // Hashes and signs. ECDSA gives DER. kInvalidArgument when the algorithm does not fit the key.
  // May block when the key lives elsewhere.
  virtual Result<Bytes> sign(SignatureAlgorithm algorithm, ByteView message) const = 0;
};

class PrivateKey final : public Signer {
 public:
  struct State;  // known only to private_key.cc
  explicit PrivateKey(std::unique_ptr<State> state);
  static Result<std::shared_ptr<const PrivateKey>> generate(KeyType type);
  // PrivateKeyInfo (RFC 5208), unencrypted, nothing after it; P-256, P-384, RSA 2048 or 4096.
  static Result<std::shared_ptr<const PrivateKey>> from_pkcs8(ByteView der);
  // "PRIVATE KEY", "EC PRIVATE KEY" or "RSA PRIVATE KEY"; the first such block of the text.
  static Result<std::shared_ptr<const PrivateKey>> from_pem(std::string_view pem);

  ~PrivateKey() override;
  PrivateKey(const PrivateKey&) = delete;
  PrivateKey& operator=(const PrivateKey&) = delete;

  KeyType key_type() const override;
  const PublicKey& public_key() const override;
  Result<Bytes> sign(SignatureAlgorithm algorithm, ByteView message) const override;

  // As Go's MarshalPKCS8PrivateKey encodes it, byte for byte.
  SecretBytes to_pkcs8() const;
  SecretBytes to_pem() const;  // "PRIVATE KEY"

  // For lib/tls; made on the first call, owned by this key. Never null.
  evp_pkey_st* evp() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace steeple::crypto
