// SPDX-License-Identifier: Apache-2.0

// Inside lib/crypto only: owners for OpenSSL's objects and what the files here share. The low-level
// EC calls are deprecated in 3.0 and are used on purpose: the EVP way costs a decoder look-up per
// key (150-250 us). OPENSSL_SUPPRESS_DEPRECATED is defined by the .cc files that call them.

#pragma once

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <memory>

#include "lib/base/bytes.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/key_type.h"
#include "lib/crypto/public_key.h"

namespace steeple::crypto {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using EvpKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using EvpKeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using MdContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using BigNumber = std::unique_ptr<BIGNUM, Free<BN_clear_free>>;

// The process's one EVP_MD of that hash, fetched on first use and never freed.
const EVP_MD* fetched_md(Hash hash);
Hash hash_of(SignatureAlgorithm algorithm);
bool is_ecdsa(SignatureAlgorithm algorithm);
bool is_pss(SignatureAlgorithm algorithm);

inline const unsigned char* u8(ByteView bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
inline unsigned char* u8(Bytes& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

// The SPKI of an EC key is these bytes and then the uncompressed point.
struct Curve {
  KeyKind kind;
  int nid;
  std::size_t field_bytes;
  int bits;
  ByteView algorithm;    // the AlgorithmIdentifier's content
  ByteView spki_prefix;  // up to the point
  ByteView oid;          // namedCurve, encoded arcs
  std::size_t point_bytes() const { return 2 * field_bytes + 1; }
};
const Curve& curve_of(KeyKind kind);           // CHECKs that it is an EC kind
const Curve* curve_of_oid(ByteView oid_arcs);  // null for curves we do not speak

// The process's one group of that curve.
const EC_GROUP* group_of(const Curve& curve);

// Is it an uncompressed point on the curve?
bool point_on_curve(const Curve& curve, ByteView point);
bool ecdsa_verify(const Curve& curve, ByteView point, ByteView digest, ByteView signature);

// Sets padding and hash on a fresh RSA signing or verifying context.
bool set_rsa_padding(EVP_PKEY_CTX* context, SignatureAlgorithm algorithm);

// RSAPublicKey's two numbers; the limits are checked.
struct RsaNumbers {
  ByteView modulus;
  ByteView exponent;
  int bits = 0;
};
Result<RsaNumbers> read_rsa_numbers(ByteView rsa_public_key);

}  // namespace steeple::crypto
