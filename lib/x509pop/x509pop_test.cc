// SPDX-License-Identifier: Apache-2.0

// Goal: the proof holds for the holder of the key and for nobody else, and the JSON is the
// reference's. Method: real keys of each type; Go's habits (longest salt) by OpenSSL directly.

#include "lib/x509pop/x509pop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/x509/builder.h"

namespace steeple::x509pop {
namespace {

using crypto::KeyType;
using testing::HasSubstr;

class X509PopTest : public testing::TestWithParam<KeyType> {
 protected:
  SeededRandom random_{1};
  std::shared_ptr<const crypto::PrivateKey> key_ = crypto::PrivateKey::generate(GetParam()).take();
  Scheme scheme_ =
      key_->public_key().kind() == crypto::KeyKind::kRsa ? Scheme::kRsa : Scheme::kEcdsa;
  Challenge challenge_{scheme_, random_.bytes(kNonceBytes)};
};

INSTANTIATE_TEST_SUITE_P(Keys, X509PopTest,
                         testing::Values(KeyType::kEcP256, KeyType::kEcP384, KeyType::kRsa2048));

TEST_P(X509PopTest, HolderOfTheKeyPassesOverTheWire) {
  auto received = parse_challenge(encode_challenge(challenge_)).take();
  auto response = respond(*key_, received, random_).take();
  auto answered = parse_response(encode_response(response));
  ASSERT_TRUE(answered.ok()) << answered.error().message;
  auto verified = verify_response(key_->public_key(), challenge_, *answered);
  EXPECT_TRUE(verified.ok()) << verified.error().message;
}

TEST_P(X509PopTest, AnotherKeyOrAnotherChallengeFails) {
  auto response = respond(*key_, challenge_, random_).take();
  auto stranger = crypto::PrivateKey::generate(GetParam()).take();
  auto refused = verify_response(stranger->public_key(), challenge_, response);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  EXPECT_THAT(refused.error().message, HasSubstr("signature verify failed"));

  Challenge other{scheme_, random_.bytes(kNonceBytes)};
  EXPECT_FALSE(verify_response(key_->public_key(), other, response).ok());
  response.nonce[0] = static_cast<char>(response.nonce[0] ^ 1);
  EXPECT_FALSE(verify_response(key_->public_key(), challenge_, response).ok());
}

TEST_P(X509PopTest, NoncesOfAnotherLengthAreRefused) {
  auto response = respond(*key_, challenge_, random_).take();
  response.nonce.push_back('x');
  EXPECT_EQ(verify_response(key_->public_key(), challenge_, response).error().message,
            "invalid response nonce");
  Challenge short_one{scheme_, Bytes(31, 'a')};
  EXPECT_EQ(respond(*key_, short_one, random_).error().message, "invalid challenge nonce");
}

TEST_P(X509PopTest, SchemeMustFitTheKey) {
  Challenge wrong{scheme_ == Scheme::kRsa ? Scheme::kEcdsa : Scheme::kRsa, challenge_.nonce};
  EXPECT_THAT(respond(*key_, wrong, random_).error().message, HasSubstr("expecting"));
  auto response = respond(*key_, challenge_, random_).take();
  EXPECT_THAT(verify_response(key_->public_key(), wrong, response).error().message,
              HasSubstr("challenge"));
}

TEST(X509Pop, AcceptsTheLongestSaltThatGoUses) {
  SeededRandom random(2);
  auto key = crypto::PrivateKey::generate(KeyType::kRsa2048).take();
  Challenge challenge{Scheme::kRsa, random.bytes(kNonceBytes)};
  Response response{Scheme::kRsa, random.bytes(kNonceBytes), Bytes(256, '\0')};
  const Bytes message = challenge.nonce + response.nonce;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* inner = nullptr;
  std::size_t size = response.signature.size();
  ASSERT_EQ(EVP_DigestSignInit(context, &inner, EVP_sha256(), nullptr, key->evp()), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, RSA_PSS_SALTLEN_MAX), 1);
  ASSERT_EQ(
      EVP_DigestSign(context, reinterpret_cast<unsigned char*>(response.signature.data()), &size,
                     reinterpret_cast<const unsigned char*>(message.data()), message.size()),
      1);
  EVP_MD_CTX_free(context);
  auto verified = verify_response(key->public_key(), challenge, response);
  EXPECT_TRUE(verified.ok()) << verified.error().message;
}

TEST(X509Pop, WireFormsAreTheReferences) {
  EXPECT_EQ(encode_attestation({"leaf", "ca"}), R"({"certificates":["bGVhZg==","Y2E="]})");
  EXPECT_EQ(parse_attestation(R"({"certificates":["bGVhZg==","Y2E="],"more":1})").take(),
            (std::vector<Bytes>{"leaf", "ca"}));
  EXPECT_EQ(encode_challenge({Scheme::kRsa, "n"}),
            R"({"rsa_signature":{"nonce":"bg=="},"ecdsa_signature":null})");
  EXPECT_EQ(encode_challenge({Scheme::kEcdsa, "n"}),
            R"({"rsa_signature":null,"ecdsa_signature":{"nonce":"bg=="}})");
  auto response = parse_response(
      R"({"rsa_signature":null,"ecdsa_signature":{"nonce":"bg==","r":"AQI=","s":"/w=="}})");
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->signature, Bytes("\x30\x08\x02\x02\x01\x02\x02\x02\x00\xff", 10));
  EXPECT_EQ(encode_response(*response),
            R"({"rsa_signature":null,"ecdsa_signature":{"nonce":"bg==","r":"AQI=","s":"/w=="}})");
  EXPECT_EQ(encode_response({Scheme::kRsa, "n", "sig"}),
            R"({"rsa_signature":{"nonce":"bg==","signature":"c2ln"},"ecdsa_signature":null})");
}

TEST(X509Pop, BadJsonIsRefused) {
  for (std::string_view text :
       {"", "[]", "null", "{", R"({"certificates":5})", R"({"certificates":[5]})",
        R"({"certificates":["*"]})", R"({"certificates":["bGVhZg"]})"}) {
    EXPECT_FALSE(parse_attestation(text).ok()) << text;
  }
  EXPECT_TRUE(parse_attestation("{}").take().empty());
  for (std::string_view text :
       {"{}", R"({"rsa_signature":null})", R"({"rsa_signature":5})",
        R"({"rsa_signature":{},"ecdsa_signature":{}})", R"({"ecdsa_signature":{"r":7}})"}) {
    EXPECT_FALSE(parse_response(text).ok()) << text;
  }
  std::string deep;
  for (int i = 0; i < 100'000; ++i) {
    deep += R"({"a":)";
  }
  EXPECT_FALSE(parse_challenge(deep).ok());
  EXPECT_FALSE(parse_challenge(std::string(kPayloadBytesMax + 1, ' ')).ok());
}

TEST(X509Pop, CertificateMustBeForDigitalSignatures) {
  SeededRandom random(3);
  FakeClock clock;
  auto key = crypto::PrivateKey::generate(KeyType::kEcP256).take();
  auto domain = spiffe::TrustDomain::parse("example.org").take();
  Bytes serial = x509::random_serial(random);
  auto der =
      x509::build_self_signed_ca({.id = domain.id(),
                                  .subject = x509::default_ca_subject().encode().take(),
                                  .serial = serial,
                                  .validity = x509::validity(clock.now(), std::chrono::hours(1))},
                                 *key)
          .take();
  auto ca = x509::Certificate::parse(der).take();
  auto refused = make_challenge(*ca, random);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, "certificate not intended for digital signature use");
}

}  // namespace
}  // namespace steeple::x509pop
