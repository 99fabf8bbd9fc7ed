// SPDX-License-Identifier: Apache-2.0

// Goal: certificates and requests are read strictly and rightly. Method: what the builder and Go
// made is read back; every prefix and every single-bit change is tried.

#include "lib/x509/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>

#include "lib/crypto/der.h"
#include "lib/crypto/pem.h"
#include "lib/x509/csr.h"
#include "lib/x509/encoding.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509/golden_go.h"

namespace steeple::x509 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const WallTime kNow = from_unix_seconds(1'893'456'000);

TEST(Certificate, GivesItsFields) {
  FakeAuthority authority("example.org", kNow);
  auto leaf = Certificate::parse(authority.issue("/web", kNow).chain[0]).take();
  EXPECT_THAT(leaf->uri_sans(), ElementsAre("spiffe://example.org/web"));
  EXPECT_EQ(leaf->not_before(), kNow - std::chrono::seconds(10));
  EXPECT_EQ(leaf->not_after(), kNow + std::chrono::hours(1));
  EXPECT_EQ(leaf->issuer(), authority.certificate()->subject());
  EXPECT_EQ(leaf->authority_key_id(), authority.certificate()->subject_key_id());
  EXPECT_EQ(leaf->subject_key_id(), leaf->public_key().subject_key_id());
  EXPECT_EQ(leaf->subject_name().take().to_string(), "O=SPIRE,C=US");
  EXPECT_TRUE(leaf->has_basic_constraints());
  EXPECT_FALSE(leaf->is_ca());
  EXPECT_FALSE(leaf->self_issued());
  EXPECT_TRUE(leaf->extended_key_usage_server_auth());
  EXPECT_TRUE(leaf->extended_key_usage_client_auth());
  EXPECT_TRUE(leaf->has_key_usage(key_usage::kDigitalSignature));
  EXPECT_FALSE(leaf->has_key_usage(key_usage::kCertSign));
  EXPECT_FALSE(leaf->has_unhandled_critical_extension());
  EXPECT_TRUE(leaf->check_signature(authority.key()->public_key()).ok());
  EXPECT_EQ(leaf->check_signature(leaf->public_key()).error().message,
            "x509: ECDSA verification failure");
  EXPECT_TRUE(authority.certificate()->self_signed());
  EXPECT_TRUE(authority.certificate()->is_ca());
}

TEST(Certificate, EveryPrefixAndAnyTailIsRefused) {
  FakeAuthority authority("example.org", kNow);
  Bytes der = authority.issue("/web", kNow).chain[0];
  for (std::size_t i = 0; i < der.size(); ++i) {
    ASSERT_FALSE(Certificate::parse(der.substr(0, i)).ok()) << i;
  }
  EXPECT_THAT(Certificate::parse(der + "x").error().message,
              HasSubstr("x509: malformed certificate: "));
}

TEST(Certificate, NoChangedBitPassesForTheOriginal) {
  FakeAuthority authority("example.org", kNow);
  Bytes der = authority.issue("/web", kNow).chain[0];
  int parsed = 0;
  for (std::size_t bit = 0; bit < der.size() * 8; ++bit) {
    Bytes bent = der;
    bent[bit / 8] = static_cast<char>(bent[bit / 8] ^ (1 << (bit % 8)));
    auto certificate = Certificate::parse(bent);
    if (certificate.ok()) {
      ++parsed;
      EXPECT_FALSE((*certificate)->check_signature(authority.key()->public_key()).ok()) << bit;
    }
  }
  EXPECT_GT(parsed, 0) << "changed names and signatures still parse";
}

// A certificate with these extensions, signed by nobody.
Bytes with_extensions(std::initializer_list<ByteView> extensions) {
  using namespace crypto;
  Bytes list = der_sequence(extensions);
  Bytes algorithm(algorithm_identifier(SignatureAlgorithm::kEcdsaSha256));
  Bytes validity = der_sequence({der_time(kNow), der_time(kNow)});
  Bytes name = default_svid_subject().encode().take();
  Bytes tbs = der_sequence({ByteView("\xa0\x03\x02\x01\x02", 5), der_unsigned_integer("\x01"),
                            algorithm, name, validity, name, hex_decode(golden::kLeafSpki).take(),
                            crypto::der(tag::context_constructed(3), list)});
  return der_sequence({tbs, algorithm, der_bit_string("s")});
}

TEST(Certificate, UnknownCriticalExtensionsAreRemembered) {
  Bytes unknown = crypto::oid_encode("1.2.3.4").take();
  auto parse = [&](bool critical) {
    return Certificate::parse(with_extensions({encode_extension(unknown, critical, "x")})).take();
  };
  EXPECT_FALSE(parse(false)->has_unhandled_critical_extension());
  EXPECT_TRUE(parse(true)->has_unhandled_critical_extension());
  ASSERT_EQ(parse(true)->extensions().size(), 1U);
  EXPECT_EQ(parse(true)->extensions()[0].value, "x");
}

TEST(Certificate, RefusesDuplicateAndDamagedExtensions) {
  Bytes constraints = encode_extension(oid::kBasicConstraints, true, crypto::der_sequence({}));
  EXPECT_TRUE(Certificate::parse(with_extensions({constraints})).ok());
  EXPECT_THAT(Certificate::parse(with_extensions({constraints, constraints})).error().message,
              HasSubstr("duplicate extensions"));
  for (ByteView oid : {oid::kBasicConstraints, oid::kKeyUsage, oid::kSubjectAltName,
                       oid::kSubjectKeyId, oid::kAuthorityKeyId, oid::kExtendedKeyUsage}) {
    EXPECT_FALSE(Certificate::parse(with_extensions({encode_extension(oid, false, "x")})).ok());
    EXPECT_FALSE(Certificate::parse(with_extensions({encode_extension(oid, false, "")})).ok());
  }
  Bytes explicit_false("\x30\x03\x01\x01\x00", 5);
  EXPECT_TRUE(Certificate::parse(
                  with_extensions({encode_extension(oid::kBasicConstraints, true, explicit_false)}))
                  .ok())
      << "cA FALSE written out is common";
}

TEST(Certificate, ReadsSansOfAllKinds) {
  auto read = [](Bytes names) {
    return Certificate::parse(with_extensions(
        {encode_extension(oid::kSubjectAltName, false, crypto::der_sequence({names}))}));
  };
  using crypto::der;
  auto good = read(der(0x82, "a.example") + der(0x86, "spiffe://x/y") +
                   der(0x87, "\x7f\x01\x01\x01") + der(0x81, "a@b") + der(0xa4, "n"))
                  .take();
  EXPECT_THAT(good->dns_sans(), ElementsAre("a.example"));
  EXPECT_THAT(good->uri_sans(), ElementsAre("spiffe://x/y"));
  EXPECT_EQ(good->ip_sans().size(), 1U);
  EXPECT_FALSE(read(der(0x87, "123")).ok());
  EXPECT_FALSE(read(der(0x86, "b\xc3\xbc")).ok());
  EXPECT_FALSE(read(der(0x30, "")).ok());
}

TEST(Certificate, SignatureAlgorithmsMustAgree) {
  FakeAuthority authority("example.org", kNow);
  Bytes der = authority.certificate()->der();
  // The outer algorithm stands behind the to-be-signed part; SHA-256 becomes SHA-384.
  std::size_t at = der.rfind(Bytes("\x2a\x86\x48\xce\x3d\x04\x03\x02", 8));
  der[at + 7] = 3;
  EXPECT_THAT(Certificate::parse(der).error().message, HasSubstr("don't match"));
}

TEST(Certificate, IsNotLargerThanTheLimit) {
  EXPECT_THAT(Certificate::parse(Bytes(limits::kCertificateBytesMax + 1, '0')).error().message,
              "x509: malformed certificate: too large");
}

TEST(Certificate, ReadsWhatOpenSslMade) {
  // RSA-PSS is what some upstream authorities sign with.
  auto key = crypto::PrivateKey::generate(crypto::KeyType::kRsa2048).take();
  X509* x509 = X509_new();
  X509_set_version(x509, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 77);
  X509_gmtime_adj(X509_getm_notBefore(x509), 0);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("x"), 1, -1, 0);
  X509_set_issuer_name(x509, X509_get_subject_name(x509));
  X509_set_pubkey(x509, key->evp());
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* inner = nullptr;
  EVP_DigestSignInit(context, &inner, EVP_sha256(), nullptr, key->evp());
  EVP_PKEY_CTX_set_rsa_padding(inner, 6);       // RSA_PKCS1_PSS_PADDING
  EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, -1);  // as long as the hash
  ASSERT_GT(X509_sign_ctx(x509, context), 0);
  unsigned char* out = nullptr;
  auto size = static_cast<std::size_t>(i2d_X509(x509, &out));
  auto certificate = Certificate::parse(ByteView(reinterpret_cast<char*>(out), size)).take();
  OPENSSL_free(out);
  X509_free(x509);
  EVP_MD_CTX_free(context);
  EXPECT_EQ(certificate->serial_decimal(), "77");
  EXPECT_EQ(certificate->signature_algorithm(), crypto::SignatureAlgorithm::kRsaPssSha256);
  EXPECT_TRUE(certificate->self_signed());
}

TEST(Chain, SplitsConcatenatedDer) {
  FakeAuthority authority("example.org", kNow);
  Bytes one = authority.certificate()->der();
  Bytes two = authority.issue("/web", kNow).chain[0];
  EXPECT_THAT(split_concatenated(two + one, 2).take(), ElementsAre(two, one));
  EXPECT_EQ(parse_concatenated(two + one, 2).take().size(), 2U);
  EXPECT_FALSE(split_concatenated(two + one, 1).ok());
  EXPECT_FALSE(split_concatenated(two + "x", 2).ok());
  EXPECT_TRUE(split_concatenated("", 2).take().empty());
}

TEST(Chain, PemRoundTrips) {
  FakeAuthority authority("example.org", kNow);
  std::vector<Bytes> chain = authority.issue("/web", kNow).chain;
  chain.push_back(authority.certificate()->der());
  auto parsed = parse_pem_certificates(chain_to_pem(chain)).take();
  ASSERT_EQ(parsed.size(), 2U);
  EXPECT_EQ(parsed[1]->der(), chain[1]);
  EXPECT_EQ(parse_pem_certificates("").error().message, "no PEM blocks");
  EXPECT_THAT(parse_pem_certificates(crypto::pem_encode("PRIVATE KEY", "x")).error().message,
              HasSubstr("invalid block type"));
}

TEST(Csr, ReadsAndVerifiesWhatGoMade) {
  auto request = CertificateRequest::parse_and_verify(hex_decode(golden::kCsrId).take()).take();
  EXPECT_THAT(request.uri_sans(), ElementsAre("spiffe://example.org/a"));
  EXPECT_THAT(request.dns_sans(), ElementsAre("a.example.org"));
  EXPECT_EQ(request.subject_name().take(), default_svid_subject());
  EXPECT_EQ(hex_encode(request.public_key().spki()), golden::kLeafSpki);
  auto plain = CertificateRequest::parse_and_verify(hex_decode(golden::kCsrPlain).take()).take();
  EXPECT_TRUE(plain.uri_sans().empty());
}

TEST(Csr, EveryPrefixIsRefusedAndNoChangedBitVerifies) {
  Bytes der = hex_decode(golden::kCsrId).take();
  for (std::size_t i = 0; i < der.size(); ++i) {
    ASSERT_FALSE(CertificateRequest::parse(der.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(CertificateRequest::parse(der + "x").ok());
  for (std::size_t bit = 0; bit < der.size() * 8; ++bit) {
    Bytes bent = der;
    bent[bit / 8] = static_cast<char>(bent[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_FALSE(CertificateRequest::parse_and_verify(bent).ok()) << bit;
  }
}

TEST(Csr, ProofOfPossessionIsChecked) {
  auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  auto other = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  Bytes der = build_csr(*key, {}).take();
  std::size_t at = der.find(key->public_key().key_bits());
  der.replace(at, 65, other->public_key().key_bits());
  auto request = CertificateRequest::parse(der).take();
  EXPECT_EQ(request.check_signature().error().code, Code::kUnauthenticated);
}

TEST(Csr, AllKeyTypesRoundTripAndOpenSslAgrees) {
  for (auto type :
       {crypto::KeyType::kEcP256, crypto::KeyType::kEcP384, crypto::KeyType::kRsa2048}) {
    auto key = crypto::PrivateKey::generate(type).take();
    Bytes der = build_csr(*key, {.uri_sans = {"spiffe://example.org/x"}}).take();
    auto request = CertificateRequest::parse_and_verify(der).take();
    EXPECT_EQ(request.public_key(), key->public_key());
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    X509_REQ* judge = d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size()));
    ASSERT_NE(judge, nullptr);
    EXPECT_EQ(X509_REQ_verify(judge, key->evp()), 1);
    X509_REQ_free(judge);
  }
}

TEST(Csr, IsNotLargerThanTheLimit) {
  EXPECT_THAT(CertificateRequest::parse(Bytes(limits::kCsrBytesMax + 1, '0')).error().message,
              "certificate request is too large");
}

}  // namespace
}  // namespace steeple::x509
