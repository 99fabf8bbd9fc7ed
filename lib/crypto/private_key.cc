// SPDX-License-Identifier: Apache-2.0

#define OPENSSL_SUPPRESS_DEPRECATED
#include "lib/crypto/private_key.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <mutex>

#include "lib/base/check.h"
#include "lib/crypto/der.h"
#include "lib/crypto/openssl.h"
#include "lib/crypto/pem.h"

namespace steeple::crypto {
namespace {

using EcKey = std::unique_ptr<EC_KEY, Free<EC_KEY_free>>;
using EcPoint = std::unique_ptr<EC_POINT, Free<EC_POINT_free>>;
using ParamBuild = std::unique_ptr<OSSL_PARAM_BLD, Free<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Free<OSSL_PARAM_free>>;
using Pkcs8Info = std::unique_ptr<PKCS8_PRIV_KEY_INFO, Free<PKCS8_PRIV_KEY_INFO_free>>;

using KeyPtr = std::shared_ptr<const PrivateKey>;

constexpr std::size_t kPrivateKeyBytesMax = 8192;
constexpr ByteView kRsaOid("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9);
constexpr ByteView kEcOid("\x2a\x86\x48\xce\x3d\x02\x01", 7);

KeyKind kind_of(KeyType type) {
  return type == KeyType::kEcP256   ? KeyKind::kEcP256
         : type == KeyType::kEcP384 ? KeyKind::kEcP384
                                    : KeyKind::kRsa;
}

Bytes public_point(const EC_KEY* key, const Curve& curve) {
  Bytes point(curve.point_bytes(), '\0');
  CHECK(EC_POINT_point2oct(EC_KEY_get0_group(key), EC_KEY_get0_public_key(key),
                           POINT_CONVERSION_UNCOMPRESSED, u8(point), point.size(),
                           nullptr) == point.size());
  return point;
}

PublicKey public_of_ec(const EC_KEY* key, const Curve& curve) {
  Bytes spki(curve.spki_prefix);
  spki += public_point(key, curve);
  return PublicKey::from_spki(spki).take();
}

Result<PublicKey> public_of_rsa(const EVP_PKEY* key) {
  unsigned char* out = nullptr;
  int size = i2d_PUBKEY(key, &out);
  if (size <= 0) {
    return internal("encode RSA public key");
  }
  Bytes spki(reinterpret_cast<const char*>(out), static_cast<std::size_t>(size));
  OPENSSL_free(out);
  return PublicKey::from_spki(spki);
}

const Curve& curve_of_key(const EC_KEY* key) {
  int nid = EC_GROUP_get_curve_name(EC_KEY_get0_group(key));
  return curve_of(nid == NID_X9_62_prime256v1 ? KeyKind::kEcP256 : KeyKind::kEcP384);
}

EcKey new_ec_key(const Curve& curve) {
  EcKey key(EC_KEY_new());
  CHECK(key && EC_KEY_set_group(key.get(), group_of(curve)) == 1);
  return key;
}

// The key of this scalar, whose public point is computed, never believed.
Result<EcKey> ec_key_of_scalar(const Curve& curve, ByteView scalar) {
  BigNumber secret(BN_secure_new());
  const BIGNUM* order = EC_GROUP_get0_order(group_of(curve));
  CHECK(secret && BN_bin2bn(u8(scalar), static_cast<int>(scalar.size()), secret.get()) != nullptr);
  BN_set_flags(secret.get(), BN_FLG_CONSTTIME);
  if (scalar.size() != curve.field_bytes || BN_is_zero(secret.get()) ||
      BN_cmp(secret.get(), order) >= 0) {
    return invalid_argument("invalid elliptic curve private key");
  }
  EcKey key = new_ec_key(curve);
  EcPoint point(EC_POINT_new(group_of(curve)));
  CHECK(point &&
        EC_POINT_mul(group_of(curve), point.get(), secret.get(), nullptr, nullptr, nullptr) == 1);
  CHECK(EC_KEY_set_private_key(key.get(), secret.get()) == 1);
  CHECK(EC_KEY_set_public_key(key.get(), point.get()) == 1);
  return key;
}

// ECPrivateKey (RFC 5915). `curve` is null when only the key itself can tell.
Result<EcKey> read_ec_private_key(ByteView bytes, const Curve* curve) {
  DerReader reader = TRY(der_enter_only(bytes, tag::kSequence));
  if (TRY(reader.small_integer()) != 1) {
    return invalid_argument("unknown version of elliptic curve private key");
  }
  ByteView scalar = TRY(reader.octet_string());
  if (reader.peek() == tag::context_constructed(0)) {
    DerReader parameters = TRY(reader.enter(tag::context_constructed(0)));
    const Curve* named = curve_of_oid(TRY(parameters.oid()));
    TRY(parameters.finish());
    if (curve != nullptr && named != curve) {
      return invalid_argument("elliptic curve does not match");
    }
    curve = named;
  }
  std::optional<ByteView> claimed_point;
  if (reader.peek() == tag::context_constructed(1)) {
    DerReader holder = TRY(reader.enter(tag::context_constructed(1)));
    claimed_point = TRY(holder.bit_string());
    TRY(holder.finish());
  }
  TRY(reader.finish());
  if (curve == nullptr || curve->kind == KeyKind::kEcP521) {
    return invalid_argument("unsupported elliptic curve for a private key");
  }
  EcKey key = TRY(ec_key_of_scalar(*curve, scalar));
  if (claimed_point && *claimed_point != public_point(key.get(), *curve)) {
    return invalid_argument("public point does not belong to the private key");
  }
  return key;
}

// RSAPrivateKey (RFC 8017 A.1.2), no bytes after it.
Result<EvpKey> read_rsa_private_key(ByteView bytes) {
  DerReader outer(bytes);
  TRY(outer.element(tag::kSequence));
  TRY(outer.finish());
  const unsigned char* at = u8(bytes);
  EvpKey key(d2i_PrivateKey(EVP_PKEY_RSA, nullptr, &at, static_cast<long>(bytes.size())));
  if (!key || at != u8(bytes) + bytes.size()) {
    ERR_clear_error();
    return invalid_argument("malformed RSA private key");
  }
  int bits = EVP_PKEY_get_bits(key.get());
  if (bits != 2048 && bits != 4096) {
    return invalid_argument(fmt::format("no RSA key type for key bit length: {}", bits));
  }
  EvpKeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  if (!context || EVP_PKEY_pairwise_check(context.get()) != 1) {
    ERR_clear_error();
    return invalid_argument("invalid RSA private key");
  }
  return key;
}

EvpKey evp_of_ec(const EC_KEY* ec, const Curve& curve) {
  Bytes point = public_point(ec, curve);
  ParamBuild build(OSSL_PARAM_BLD_new());
  CHECK(build != nullptr);
  CHECK(OSSL_PARAM_BLD_push_utf8_string(build.get(), OSSL_PKEY_PARAM_GROUP_NAME,
                                        OBJ_nid2sn(curve.nid), 0) == 1);
  CHECK(OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                         point.size()) == 1);
  CHECK(OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PRIV_KEY,
                               EC_KEY_get0_private_key(ec)) == 1);
  Params params(OSSL_PARAM_BLD_to_param(build.get()));
  EvpKeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  CHECK(params && context && EVP_PKEY_fromdata_init(context.get()) == 1);
  CHECK(EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params.get()) == 1);
  return EvpKey(key);
}

Result<EvpKey> generate_rsa(unsigned bits) {
  EvpKey key(EVP_RSA_gen(bits));
  if (!key) {
    ERR_clear_error();
    return internal("RSA key generation failed");
  }
  return key;
}

}  // namespace

// EC keys live in EC_KEY, RSA keys in EVP_PKEY. The EVP form of an EC key is made when TLS asks.
struct PrivateKey::State {
  KeyType type;
  PublicKey public_key;
  EcKey ec;
  EvpKey evp;
  std::once_flag evp_once;

  State(KeyType key_type, PublicKey key) : type(key_type), public_key(std::move(key)) {}

  static KeyPtr of_ec(EcKey key) {
    const Curve& curve = curve_of_key(key.get());
    auto state = std::make_unique<State>(
        curve.kind == KeyKind::kEcP256 ? KeyType::kEcP256 : KeyType::kEcP384,
        public_of_ec(key.get(), curve));
    state->ec = std::move(key);
    return std::make_shared<const PrivateKey>(std::move(state));
  }
  static Result<KeyPtr> of_rsa(EvpKey key) {
    KeyType type = EVP_PKEY_get_bits(key.get()) == 2048 ? KeyType::kRsa2048 : KeyType::kRsa4096;
    auto state = std::make_unique<State>(type, TRY(public_of_rsa(key.get())));
    state->evp = std::move(key);
    return std::make_shared<const PrivateKey>(std::move(state));
  }
  static Result<KeyPtr> of_block(const PemBlock& block) {
    if (block.der.size() > kPrivateKeyBytesMax) {
      return invalid_argument("private key is too large");
    }
    if (block.label == "EC PRIVATE KEY") {
      return of_ec(TRY(read_ec_private_key(block.der, nullptr)));
    }
    if (block.label == "RSA PRIVATE KEY") {
      return of_rsa(TRY(read_rsa_private_key(block.der)));
    }
    if (block.label != "PRIVATE KEY") {
      return invalid_argument(fmt::format("PEM type \"{}\" is not supported", block.label));
    }
    return from_pkcs8(block.der);
  }
};

PrivateKey::PrivateKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
PrivateKey::~PrivateKey() = default;

KeyType PrivateKey::key_type() const { return state_->type; }
const PublicKey& PrivateKey::public_key() const { return state_->public_key; }

Result<KeyPtr> PrivateKey::generate(KeyType type) {
  if (kind_of(type) == KeyKind::kRsa) {
    EvpKey key = TRY(generate_rsa(type == KeyType::kRsa2048 ? 2048 : 4096));
    return State::of_rsa(std::move(key));
  }
  const Curve& curve = curve_of(kind_of(type));
  EcKey key = new_ec_key(curve);
  if (EC_KEY_generate_key(key.get()) != 1) {
    ERR_clear_error();
    return internal("elliptic curve key generation failed");
  }
  return State::of_ec(std::move(key));
}

Result<KeyPtr> PrivateKey::from_pkcs8(ByteView der) {
  if (der.size() > kPrivateKeyBytesMax) {
    return invalid_argument("private key is too large");
  }
  DerReader reader = TRY(der_enter_only(der, tag::kSequence));
  if (TRY(reader.small_integer()) > 1) {
    return invalid_argument("unknown version of PKCS#8");
  }
  DerReader algorithm = TRY(reader.enter(tag::kSequence));
  ByteView oid = TRY(algorithm.oid());
  ByteView inner = TRY(reader.octet_string());
  TRY(reader.optional(tag::context_constructed(0)));  // attributes
  TRY(reader.optional(tag::context(1)));              // public key, RFC 5958
  TRY(reader.finish());
  if (oid == kRsaOid) {
    return State::of_rsa(TRY(read_rsa_private_key(inner)));
  }
  if (oid != kEcOid) {
    return invalid_argument("unsupported private key algorithm");
  }
  const Curve* curve = curve_of_oid(TRY(algorithm.oid()));
  TRY(algorithm.finish());
  if (curve == nullptr) {
    return invalid_argument("unsupported elliptic curve");
  }
  return State::of_ec(TRY(read_ec_private_key(inner, curve)));
}

Result<KeyPtr> PrivateKey::from_pem(std::string_view pem) {
  std::vector<PemBlock> blocks = TRY(pem_decode(pem));
  Result<KeyPtr> found = invalid_argument("no PEM block of a private key found");
  for (const PemBlock& block : blocks) {
    if (block.label.ends_with("PRIVATE KEY")) {
      found = State::of_block(block);
      break;
    }
  }
  for (PemBlock& block : blocks) {
    wipe(block.der);
  }
  return found;
}

Result<Bytes> PrivateKey::sign(SignatureAlgorithm algorithm, ByteView message) const {
  bool ec = state_->ec != nullptr;
  if (is_ecdsa(algorithm) != ec) {
    return invalid_argument("signature algorithm does not fit the key");
  }
  Bytes hashed = digest(hash_of(algorithm), message);
  if (ec) {
    unsigned size = static_cast<unsigned>(ECDSA_size(state_->ec.get()));
    Bytes signature(size, '\0');
    if (ECDSA_sign(0, u8(hashed), static_cast<int>(hashed.size()), u8(signature), &size,
                   state_->ec.get()) != 1) {
      ERR_clear_error();
      return internal("signing failed");
    }
    signature.resize(size);
    return signature;
  }
  EvpKeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, state_->evp.get(), nullptr));
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(state_->evp.get()));
  Bytes signature(size, '\0');
  bool good = context && EVP_PKEY_sign_init(context.get()) == 1 &&
              set_rsa_padding(context.get(), algorithm) &&
              EVP_PKEY_CTX_set_signature_md(context.get(), fetched_md(hash_of(algorithm))) == 1 &&
              EVP_PKEY_sign(context.get(), u8(signature), &size, u8(hashed), hashed.size()) == 1;
  if (!good) {
    ERR_clear_error();
    return internal("signing failed");
  }
  signature.resize(size);
  return signature;
}

// PrivateKeyInfo around ECPrivateKey without parameters and with the public point: Go's form.
SecretBytes PrivateKey::to_pkcs8() const {
  if (state_->ec) {
    const Curve& curve = curve_of(state_->public_key.kind());
    bool p256 = curve.kind == KeyKind::kEcP256;
    constexpr ByteView kHeadP256(
        "\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86"
        "\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20",
        36);
    constexpr ByteView kHeadP384(
        "\x30\x81\xb6\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81"
        "\x04\x00\x22\x04\x81\x9e\x30\x81\x9b\x02\x01\x01\x04\x30",
        35);
    constexpr ByteView kMiddleP256("\xa1\x44\x03\x42\x00", 5);
    constexpr ByteView kMiddleP384("\xa1\x64\x03\x62\x00", 5);
    ByteView head = p256 ? kHeadP256 : kHeadP384;
    std::array<char, 256> out;
    CHECK(head.size() + 5 + curve.field_bytes + curve.point_bytes() <= out.size());
    char* at = std::copy(head.begin(), head.end(), out.data());
    CHECK(BN_bn2binpad(EC_KEY_get0_private_key(state_->ec.get()),
                       reinterpret_cast<unsigned char*>(at),
                       static_cast<int>(curve.field_bytes)) >= 0);
    at += curve.field_bytes;
    ByteView middle = p256 ? kMiddleP256 : kMiddleP384;
    at = std::copy(middle.begin(), middle.end(), at);
    ByteView point = state_->public_key.key_bits();
    at = std::copy(point.begin(), point.end(), at);
    SecretBytes secret(ByteView(out.data(), static_cast<std::size_t>(at - out.data())));
    OPENSSL_cleanse(out.data(), out.size());
    return secret;
  }
  Pkcs8Info info(EVP_PKEY2PKCS8(state_->evp.get()));
  unsigned char* out = nullptr;
  CHECK(info != nullptr);
  int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), &out);
  CHECK(size > 0);
  auto length = static_cast<std::size_t>(size);
  SecretBytes secret(ByteView(reinterpret_cast<const char*>(out), length));
  OPENSSL_clear_free(out, length);
  return secret;
}

SecretBytes PrivateKey::to_pem() const {
  return SecretBytes::absorb(pem_encode("PRIVATE KEY", to_pkcs8().reveal()));
}

evp_pkey_st* PrivateKey::evp() const {
  if (state_->ec) {
    std::call_once(state_->evp_once, [this] {
      state_->evp = evp_of_ec(state_->ec.get(), curve_of(state_->public_key.kind()));
    });
  }
  return state_->evp.get();
}

}  // namespace steeple::crypto
