// SPDX-License-Identifier: Apache-2.0

#define OPENSSL_SUPPRESS_DEPRECATED
#include "lib/crypto/public_key.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <bit>

#include "lib/base/check.h"
#include "lib/base/limits.h"
#include "lib/crypto/der.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/openssl.h"
#include "lib/crypto/pem.h"

namespace steeple::crypto {
namespace {

constexpr int kRsaBitsMin = 2048;
constexpr std::size_t kRsaExponentBytesMax = 8;
constexpr std::size_t kSpkiBytesMax = 4096;

// rsaEncryption, RFC 3279 section 2.3.1.
constexpr ByteView kRsaOid("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9);
constexpr ByteView kEcOid("\x2a\x86\x48\xce\x3d\x02\x01", 7);

using ParamBuild = std::unique_ptr<OSSL_PARAM_BLD, Free<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Free<OSSL_PARAM_free>>;

BigNumber big_number(ByteView bytes) {
  return BigNumber(BN_bin2bn(u8(bytes), static_cast<int>(bytes.size()), nullptr));
}

Result<EvpKey> rsa_native(const RsaNumbers& numbers) {
  BigNumber n = big_number(numbers.modulus);
  BigNumber e = big_number(numbers.exponent);
  ParamBuild build(OSSL_PARAM_BLD_new());
  CHECK(n && e && build);
  CHECK(OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) == 1);
  CHECK(OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) == 1);
  Params params(OSSL_PARAM_BLD_to_param(build.get()));
  EvpKeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  CHECK(params && context);
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    ERR_clear_error();
    return invalid_argument("invalid RSA public key");
  }
  return EvpKey(key);
}

Error bad_signature() { return {Code::kUnauthenticated, "signature verification failed"}; }

ByteView without_leading_zeros(ByteView bytes) {
  while (!bytes.empty() && bytes[0] == 0) {
    bytes.remove_prefix(1);
  }
  return bytes;
}

}  // namespace

struct PublicKey::Native {
  EvpKey key;
};

Result<RsaNumbers> read_rsa_numbers(ByteView rsa_public_key) {
  DerReader reader = TRY(der_enter_only(rsa_public_key, tag::kSequence));
  RsaNumbers numbers;
  numbers.modulus = TRY(reader.unsigned_integer());
  numbers.exponent = TRY(reader.unsigned_integer());
  TRY(reader.finish());
  numbers.bits = static_cast<int>((numbers.modulus.size() - 1) * 8) +
                 std::bit_width(static_cast<unsigned char>(numbers.modulus[0]));
  if (numbers.bits < kRsaBitsMin || numbers.bits > limits::kRsaKeyBitsMax) {
    return invalid_argument(fmt::format("RSA key of {} bits is not between {} and {}", numbers.bits,
                                        kRsaBitsMin, limits::kRsaKeyBitsMax));
  }
  bool odd = (numbers.exponent.back() & 1) != 0 && (numbers.modulus.back() & 1) != 0;
  bool one = numbers.exponent.size() == 1 && numbers.exponent[0] == 1;
  if (!odd || one || numbers.exponent.size() > kRsaExponentBytesMax) {
    return invalid_argument("invalid RSA public key");
  }
  return numbers;
}

Result<PublicKey> PublicKey::from_spki(ByteView der) {
  if (der.size() > kSpkiBytesMax) {
    return invalid_argument("public key is too large");
  }
  DerReader reader = TRY(der_enter_only(der, tag::kSequence));
  DerReader algorithm = TRY(reader.enter(tag::kSequence));
  ByteView oid = TRY(algorithm.oid());
  PublicKey key;
  if (oid == kEcOid) {
    const Curve* curve = curve_of_oid(TRY(algorithm.oid()));
    if (curve == nullptr) {
      return invalid_argument("unsupported elliptic curve");
    }
    key.kind_ = curve->kind;
  } else if (oid == kRsaOid) {
    if (!TRY(algorithm.content(tag::kNull)).empty()) {
      return invalid_argument("malformed DER: null is not empty");
    }
    key.kind_ = KeyKind::kRsa;
  } else {
    return invalid_argument("unsupported public key algorithm");
  }
  TRY(algorithm.finish());
  ByteView bits = TRY(reader.bit_string());
  TRY(reader.finish());
  key.spki_ = std::make_shared<const Bytes>(der);
  key.key_bits_at_ = static_cast<std::size_t>(bits.data() - der.data());
  bits = key.key_bits();
  return key.kind_ == KeyKind::kRsa ? read_rsa(std::move(key), bits)
                                    : read_ec(std::move(key), bits);
}

Result<PublicKey> PublicKey::read_ec(PublicKey key, ByteView point) {
  const Curve& curve = curve_of(key.kind_);
  if (!point_on_curve(curve, point)) {
    return invalid_argument("invalid elliptic curve point");
  }
  key.bits_ = curve.bits;
  key.first_at_ = key.key_bits_at_ + 1;
  key.first_size_ = curve.field_bytes;
  key.second_at_ = key.first_at_ + curve.field_bytes;
  key.second_size_ = curve.field_bytes;
  return key;
}

Result<PublicKey> PublicKey::read_rsa(PublicKey key, ByteView rsa_public_key) {
  RsaNumbers numbers = TRY(read_rsa_numbers(rsa_public_key));
  key.bits_ = numbers.bits;
  key.first_at_ = static_cast<std::size_t>(numbers.modulus.data() - key.spki_->data());
  key.first_size_ = numbers.modulus.size();
  key.second_at_ = static_cast<std::size_t>(numbers.exponent.data() - key.spki_->data());
  key.second_size_ = numbers.exponent.size();
  auto native = TRY(rsa_native(numbers));
  key.native_ = std::make_shared<const Native>(Native{std::move(native)});
  return key;
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  std::vector<PemBlock> blocks = TRY(pem_decode(pem));
  if (blocks.size() != 1 || blocks[0].label != "PUBLIC KEY") {
    return invalid_argument("expected one PEM block of type \"PUBLIC KEY\"");
  }
  return from_spki(blocks[0].der);
}

Result<PublicKey> PublicKey::from_ec(KeyKind kind, ByteView x, ByteView y) {
  if (kind == KeyKind::kRsa) {
    return invalid_argument("RSA is no curve");
  }
  const Curve& curve = curve_of(kind);
  if (x.size() != curve.field_bytes || y.size() != curve.field_bytes) {
    return invalid_argument("elliptic curve coordinate has the wrong length");
  }
  Bytes spki(curve.spki_prefix);
  spki += '\x04';
  spki += x;
  spki += y;
  return from_spki(spki);
}

Result<PublicKey> PublicKey::from_rsa(ByteView modulus, ByteView exponent) {
  modulus = without_leading_zeros(modulus);
  exponent = without_leading_zeros(exponent);
  if (modulus.size() > kSpkiBytesMax || exponent.size() > kRsaExponentBytesMax) {
    return invalid_argument("invalid RSA public key");
  }
  Bytes numbers = der_sequence({der_unsigned_integer(modulus), der_unsigned_integer(exponent)});
  Bytes algorithm = der_sequence({der(tag::kOid, kRsaOid), der(tag::kNull, {})});
  return from_spki(der_sequence({algorithm, der_bit_string(numbers)}));
}

std::optional<KeyType> PublicKey::key_type() const {
  switch (kind_) {
    case KeyKind::kEcP256:
      return KeyType::kEcP256;
    case KeyKind::kEcP384:
      return KeyType::kEcP384;
    case KeyKind::kEcP521:
      return std::nullopt;
    case KeyKind::kRsa:
      break;
  }
  if (bits_ == 2048) {
    return KeyType::kRsa2048;
  }
  return bits_ == 4096 ? std::optional(KeyType::kRsa4096) : std::nullopt;
}

Bytes PublicKey::subject_key_id() const { return sha1(key_bits()); }

PublicKey::Numbers PublicKey::numbers() const {
  ByteView all = *spki_;
  return {all.substr(first_at_, first_size_), all.substr(second_at_, second_size_)};
}

std::string PublicKey::to_pem() const { return pem_encode("PUBLIC KEY", *spki_); }

bool set_rsa_padding(EVP_PKEY_CTX* context, SignatureAlgorithm algorithm) {
  if (!is_pss(algorithm)) {
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
  }
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context, fetched_md(hash_of(algorithm))) == 1;
}

Result<void> PublicKey::verify(SignatureAlgorithm algorithm, ByteView message,
                               ByteView signature) const {
  if (is_ecdsa(algorithm) != (kind_ != KeyKind::kRsa)) {
    return Error{Code::kUnauthenticated, "signature algorithm does not fit the key"};
  }
  Bytes hashed = digest(hash_of(algorithm), message);
  if (kind_ != KeyKind::kRsa) {
    if (!ecdsa_verify(curve_of(kind_), key_bits(), hashed, signature)) {
      return bad_signature();
    }
    return {};
  }
  EvpKeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, native_->key.get(), nullptr));
  bool good = context && EVP_PKEY_verify_init(context.get()) == 1 &&
              set_rsa_padding(context.get(), algorithm) &&
              EVP_PKEY_CTX_set_signature_md(context.get(), fetched_md(hash_of(algorithm))) == 1 &&
              EVP_PKEY_verify(context.get(), u8(signature), signature.size(), u8(hashed),
                              hashed.size()) == 1;
  if (!good) {
    ERR_clear_error();
    return bad_signature();
  }
  return {};
}

Result<void> PublicKey::verify_pss_any_salt(ByteView message, ByteView signature) const {
  if (kind_ != KeyKind::kRsa) {
    return Error{Code::kUnauthenticated, "signature algorithm does not fit the key"};
  }
  constexpr auto kAlgorithm = SignatureAlgorithm::kRsaPssSha256;
  Bytes hashed = digest(hash_of(kAlgorithm), message);
  EvpKeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, native_->key.get(), nullptr));
  bool good = context && EVP_PKEY_verify_init(context.get()) == 1 &&
              set_rsa_padding(context.get(), kAlgorithm) &&
              EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), RSA_PSS_SALTLEN_AUTO) == 1 &&
              EVP_PKEY_CTX_set_signature_md(context.get(), fetched_md(hash_of(kAlgorithm))) == 1 &&
              EVP_PKEY_verify(context.get(), u8(signature), signature.size(), u8(hashed),
                              hashed.size()) == 1;
  if (!good) {
    ERR_clear_error();
    return bad_signature();
  }
  return {};
}

}  // namespace steeple::crypto
