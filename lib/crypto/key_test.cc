// SPDX-License-Identifier: Apache-2.0

// Goal: keys are encoded as OpenSSL and Go encode them, sign what OpenSSL verifies, and bad keys
// are refused. Method: OpenSSL's own parser and verifier are the judge.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "lib/crypto/der.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/pem.h"
#include "lib/crypto/private_key.h"

namespace steeple::crypto {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Evp = std::unique_ptr<EVP_PKEY, FreeKey>;

const unsigned char* raw(ByteView bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

Evp judge_private(ByteView pkcs8) {
  const unsigned char* at = raw(pkcs8);
  Evp key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(pkcs8.size())));
  return at == raw(pkcs8) + pkcs8.size() ? std::move(key) : nullptr;
}

bool judge_verifies(EVP_PKEY* key, const EVP_MD* md, bool pss, ByteView message,
                    ByteView signature) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* inner = nullptr;
  bool good = EVP_DigestVerifyInit(context, &inner, md, nullptr, key) == 1 &&
              (!pss || (EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING) == 1 &&
                        EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
              EVP_DigestVerify(context, raw(signature), signature.size(), raw(message),
                               message.size()) == 1;
  EVP_MD_CTX_free(context);
  ERR_clear_error();
  return good;
}

// One key per type for the whole program: RSA generation is slow.
const PrivateKey& key_of(KeyType type) {
  static std::map<KeyType, std::shared_ptr<const PrivateKey>> keys;
  auto& key = keys[type];
  if (!key) {
    key = PrivateKey::generate(type).take();
  }
  return *key;
}

class EveryKeyType : public testing::TestWithParam<KeyType> {};
INSTANTIATE_TEST_SUITE_P(, EveryKeyType,
                         testing::Values(KeyType::kEcP256, KeyType::kEcP384, KeyType::kRsa2048,
                                         KeyType::kRsa4096),
                         [](const auto& instance) {
                           std::string name(key_type_name(instance.param));
                           name.erase(name.find('-'), 1);
                           return name;
                         });

TEST_P(EveryKeyType, Pkcs8IsWhatOpenSslWouldWriteAndReadsBack) {
  const PrivateKey& key = key_of(GetParam());
  SecretBytes encoded = key.to_pkcs8();
  Evp judge = judge_private(encoded.reveal());
  ASSERT_TRUE(judge);
  EXPECT_EQ(EVP_PKEY_eq(judge.get(), key.evp()), 1);
  PKCS8_PRIV_KEY_INFO* info = EVP_PKEY2PKCS8(judge.get());
  unsigned char* out = nullptr;
  int size = i2d_PKCS8_PRIV_KEY_INFO(info, &out);
  EXPECT_EQ(encoded.reveal(),
            ByteView(reinterpret_cast<char*>(out), static_cast<std::size_t>(size)));
  OPENSSL_free(out);
  PKCS8_PRIV_KEY_INFO_free(info);

  auto again = PrivateKey::from_pkcs8(encoded.reveal()).take();
  EXPECT_EQ(again->key_type(), GetParam());
  EXPECT_EQ(again->public_key(), key.public_key());
  EXPECT_EQ(again->to_pkcs8().reveal(), encoded.reveal());
  auto from_pem = PrivateKey::from_pem(key.to_pem().reveal()).take();
  EXPECT_EQ(from_pem->public_key(), key.public_key());
}

TEST_P(EveryKeyType, PublicKeyIsOpenSslsSpki) {
  const PrivateKey& key = key_of(GetParam());
  unsigned char* out = nullptr;
  int size = i2d_PUBKEY(key.evp(), &out);
  EXPECT_EQ(key.public_key().spki(),
            ByteView(reinterpret_cast<char*>(out), static_cast<std::size_t>(size)));
  OPENSSL_free(out);
  EXPECT_EQ(key.public_key().key_type(), GetParam());
  EXPECT_EQ(PublicKey::from_spki(key.public_key().spki()).take(), key.public_key());
  EXPECT_EQ(PublicKey::from_pem(key.public_key().to_pem()).take(), key.public_key());
  EXPECT_EQ(key.public_key().subject_key_id().size(), 20U);
  auto [first, second] = key.public_key().numbers();
  auto rebuilt = key.public_key().kind() == KeyKind::kRsa
                     ? PublicKey::from_rsa(first, second)
                     : PublicKey::from_ec(key.public_key().kind(), first, second);
  EXPECT_EQ(*rebuilt, key.public_key());
}

TEST_P(EveryKeyType, SignaturesAreVerifiedByOpenSslAndByUs) {
  const PrivateKey& key = key_of(GetParam());
  bool ec = key.public_key().kind() != KeyKind::kRsa;
  using A = SignatureAlgorithm;
  struct Case {
    A algorithm;
    const EVP_MD* md;
    bool ec, pss;
  };
  for (const Case& c : {Case{A::kEcdsaSha256, EVP_sha256(), true, false},
                        Case{A::kEcdsaSha384, EVP_sha384(), true, false},
                        Case{A::kEcdsaSha512, EVP_sha512(), true, false},
                        Case{A::kRsaPkcs1Sha256, EVP_sha256(), false, false},
                        Case{A::kRsaPkcs1Sha384, EVP_sha384(), false, false},
                        Case{A::kRsaPkcs1Sha512, EVP_sha512(), false, false},
                        Case{A::kRsaPssSha256, EVP_sha256(), false, true},
                        Case{A::kRsaPssSha384, EVP_sha384(), false, true},
                        Case{A::kRsaPssSha512, EVP_sha512(), false, true}}) {
    auto signature = key.sign(c.algorithm, "message");
    ASSERT_EQ(signature.ok(), ec == c.ec);
    if (!signature.ok()) {
      continue;
    }
    EXPECT_TRUE(judge_verifies(key.evp(), c.md, c.pss, "message", *signature));
    const PublicKey& pub = key.public_key();
    EXPECT_TRUE(pub.verify(c.algorithm, "message", *signature).ok());
    EXPECT_FALSE(pub.verify(c.algorithm, "massage", *signature).ok());
    EXPECT_FALSE(pub.verify(c.algorithm, "message", *signature + "x").ok());
    EXPECT_FALSE(pub.verify(c.algorithm, "message", "").ok());
    A other = ec ? A::kRsaPkcs1Sha256 : A::kEcdsaSha256;
    EXPECT_EQ(pub.verify(other, "message", *signature).error().code, Code::kUnauthenticated);
    for (std::size_t i = 0; i < signature->size(); ++i) {
      Bytes bent = *signature;
      bent[i] = static_cast<char>(bent[i] ^ 1);
      EXPECT_FALSE(pub.verify(c.algorithm, "message", bent).ok()) << i;
    }
  }
  EXPECT_EQ(ERR_peek_error(), 0U) << "a refused signature leaves OpenSSL's error queue clean";
}

TEST_P(EveryKeyType, EveryPrefixOfAKeyIsRefused) {
  const PrivateKey& key = key_of(GetParam());
  SecretBytes pkcs8 = key.to_pkcs8();
  for (std::size_t i = 0; i < pkcs8.size(); ++i) {
    EXPECT_FALSE(PrivateKey::from_pkcs8(pkcs8.reveal().substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(PrivateKey::from_pkcs8(Bytes(pkcs8.reveal()) + "x").ok());
  const Bytes& spki = key.public_key().spki();
  for (std::size_t i = 0; i < spki.size(); ++i) {
    EXPECT_FALSE(PublicKey::from_spki(spki.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(PublicKey::from_spki(spki + "x").ok());
}

TEST(KeyType, SpellingsAreSpires) {
  EXPECT_EQ(parse_key_type("ec-p256").take(), KeyType::kEcP256);
  EXPECT_EQ(parse_key_type("rsa-4096").take(), KeyType::kRsa4096);
  EXPECT_THAT(parse_key_type("EC-P256").error().message,
              "key type \"EC-P256\" is unknown; must be one of [rsa-2048, rsa-4096, ec-p256, "
              "ec-p384]");
}

TEST(PublicKey, RefusesAPointThatIsNotOnTheCurve) {
  Bytes spki = key_of(KeyType::kEcP256).public_key().spki();
  spki.back() = static_cast<char>(spki.back() ^ 1);
  EXPECT_THAT(PublicKey::from_spki(spki).error().message, HasSubstr("invalid elliptic curve"));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(PublicKey, RefusesCompressedPoints) {
  Bytes spki = key_of(KeyType::kEcP256).public_key().spki();
  Bytes algorithm = spki.substr(2, 21);
  Bytes point = "\x02" + spki.substr(27, 32);
  EXPECT_FALSE(PublicKey::from_spki(der_sequence({algorithm, der_bit_string(point)})).ok());
}

Bytes spki_of(EVP_PKEY* key) {
  unsigned char* out = nullptr;
  int size = i2d_PUBKEY(key, &out);
  Bytes spki(reinterpret_cast<char*>(out), static_cast<std::size_t>(size));
  OPENSSL_free(out);
  return spki;
}

TEST(PublicKey, SpeaksP521ForVerificationOnly) {
  Evp key(EVP_EC_gen("P-521"));
  PublicKey read = PublicKey::from_spki(spki_of(key.get())).take();
  EXPECT_EQ(read.kind(), KeyKind::kEcP521);
  EXPECT_EQ(read.key_type(), std::nullopt);
  auto [x, y] = read.numbers();
  EXPECT_EQ(PublicKey::from_ec(KeyKind::kEcP521, x, y).take(), read);
}

TEST(PublicKey, RefusesOtherCurvesAndAlgorithms) {
  for (const char* curve : {"P-224", "secp256k1", "brainpoolP256r1"}) {
    Evp key(EVP_EC_gen(curve));
    EXPECT_THAT(PublicKey::from_spki(spki_of(key.get())).error().message,
                "unsupported elliptic curve");
  }
  Evp edwards(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  EXPECT_THAT(PublicKey::from_spki(spki_of(edwards.get())).error().message,
              "unsupported public key algorithm");
}

TEST(PublicKey, RsaHasBoundsOnItsSize) {
  Evp small(EVP_RSA_gen(1024));
  EXPECT_THAT(PublicKey::from_spki(spki_of(small.get())).error().message, HasSubstr("1024 bits"));
  Bytes modulus(1024 + 1, '\xff');  // 8200 bits
  EXPECT_THAT(PublicKey::from_rsa(modulus, "\x01\x00\x01"s).error().message,
              HasSubstr("8200 bits"));
  modulus.resize(256);
  EXPECT_TRUE(PublicKey::from_rsa(modulus, "\x01\x00\x01"s).ok());
  EXPECT_FALSE(PublicKey::from_rsa(modulus, "\x01"s).ok());
  EXPECT_FALSE(PublicKey::from_rsa(modulus, "\x02"s).ok());
  EXPECT_FALSE(PublicKey::from_rsa(modulus, Bytes(9, '\x7f')).ok());
}

TEST(PrivateKey, ReadsTheOldPemForms) {
  const PrivateKey& ec = key_of(KeyType::kEcP256);
  const PrivateKey& rsa = key_of(KeyType::kRsa2048);
  for (const PrivateKey* key : {&ec, &rsa}) {
    BIO* memory = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey_traditional(memory, key->evp(), nullptr, nullptr, 0, nullptr, nullptr);
    char* data = nullptr;
    auto size = static_cast<std::size_t>(BIO_get_mem_data(memory, &data));
    std::string text = "comment\n" + std::string(data, size);
    BIO_free(memory);
    EXPECT_THAT(text, HasSubstr(key == &ec ? "EC PRIVATE KEY" : "RSA PRIVATE KEY"));
    EXPECT_EQ(PrivateKey::from_pem(text).take()->public_key(), key->public_key());
  }
  EXPECT_THAT(PrivateKey::from_pem("nothing").error().message,
              "no PEM block of a private key found");
  EXPECT_THAT(PrivateKey::from_pem(pem_encode("ENCRYPTED PRIVATE KEY", "x")).error().message,
              HasSubstr("not supported"));
}

TEST(PrivateKey, RefusesAPublicPointOfAnotherKey) {
  SecretBytes pkcs8 = key_of(KeyType::kEcP256).to_pkcs8();
  auto other = PrivateKey::generate(KeyType::kEcP256).take();
  Bytes mixed(pkcs8.reveal());
  ByteView point = other->public_key().key_bits();
  mixed.replace(mixed.size() - point.size(), point.size(), point);
  EXPECT_THAT(PrivateKey::from_pkcs8(mixed).error().message, HasSubstr("does not belong"));
}

TEST(PrivateKey, RefusesScalarsOutsideTheGroup) {
  Bytes pkcs8(key_of(KeyType::kEcP256).to_pkcs8().reveal());
  for (char fill : {'\x00', '\xff'}) {
    pkcs8.replace(36, 32, Bytes(32, fill));
    EXPECT_THAT(PrivateKey::from_pkcs8(pkcs8).error().message,
                "invalid elliptic curve private key");
  }
}

TEST(Hash, KnownAnswers) {
  EXPECT_EQ(hex_encode(sha1("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(hex_encode(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_encode(sha384("")).substr(0, 16), "38b060a751ac9638");
  EXPECT_EQ(hex_encode(sha512("")).substr(0, 16), "cf83e1357eefb8bd");
  EXPECT_EQ(hex_encode(sha256("")).substr(0, 16), "e3b0c44298fc1c14")
      << "a context used before starts anew";
}

}  // namespace
}  // namespace steeple::crypto
