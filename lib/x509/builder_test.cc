// SPDX-License-Identifier: Apache-2.0

// Goal: certificates and requests are, byte for byte, what SPIRE's templates give in Go. Method:
// the to-be-signed bytes against golden_go.h with a signer whose signature does not matter, and
// OpenSSL's parser and verifier for the whole.

#include "lib/x509/builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lib/base/fake_random.h"
#include "lib/crypto/der.h"
#include "lib/x509/csr.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509/golden_go.h"

namespace steeple::x509 {
namespace {

using testing::HasSubstr;

class FixedSigner final : public crypto::Signer {
 public:
  explicit FixedSigner(std::string_view spki_hex)
      : key_(crypto::PublicKey::from_spki(hex_decode(spki_hex).take()).take()) {}
  crypto::KeyType key_type() const override { return *key_.key_type(); }
  const crypto::PublicKey& public_key() const override { return key_; }
  Result<Bytes> sign(crypto::SignatureAlgorithm, ByteView) const override { return Bytes("sig"); }

 private:
  crypto::PublicKey key_;
};

// The first element inside the outer SEQUENCE: what is signed.
std::string tbs_hex(const Bytes& der) {
  auto reader = crypto::der_enter_only(der, crypto::tag::kSequence).take();
  return hex_encode(reader.any().take().raw);
}

const Bytes kSerial = hex_decode("f1e2d3c4b5a697887766554433221100").take();
const WallTime kNow = from_unix_seconds(1'893'456'000);

class Golden : public testing::Test {
 protected:
  Golden() {
    Name name = default_ca_subject();
    name.common_name = "ü & co";
    CaOptions options{spiffe::TrustDomain::parse("example.org").take().id(),
                      ca_subject(name, kSerial).encode().take(),
                      kSerial,
                      {kNow - kNotBeforeCushion, from_unix_seconds(2'524'608'000 + 86'400)}};
    ca_der_ = build_self_signed_ca(options, *ca_key_).take();
    issuer_ = Issuer::make(Certificate::parse(ca_der_).take(), ca_key_).take();
  }

  std::string svid(const Name& subject, const std::vector<std::string>& dns) {
    auto id = spiffe::SpiffeId::parse("spiffe://example.org/ns/default/sa/web").take();
    Bytes encoded = subject.encode().take();
    SvidOptions options{
        id, leaf_key_.public_key(), encoded, kSerial, validity(kNow, std::chrono::hours(1)), dns};
    return tbs_hex(issuer_->issue_svid(options).take());
  }

  std::shared_ptr<FixedSigner> ca_key_ = std::make_shared<FixedSigner>(golden::kCaSpki);
  FixedSigner leaf_key_{golden::kLeafSpki};
  Bytes ca_der_;
  std::shared_ptr<const Issuer> issuer_;
};

TEST_F(Golden, SelfSignedCaIsGos) { EXPECT_EQ(tbs_hex(ca_der_), golden::kCaTbs); }

TEST_F(Golden, WorkloadSvidIsGos) { EXPECT_EQ(svid(default_svid_subject(), {}), golden::kSvidTbs); }

TEST_F(Golden, DnsNamesBecomeSansAndTheFirstTheCommonName) {
  std::vector<std::string> dns = {"web.example.org", "db.example.org"};
  Name name = Name::parse(svid_subject({}, dns).take()).take();
  name.extra = {{"2.5.4.45", "abc_1"}};
  EXPECT_EQ(svid(name, dns), golden::kDnsTbs);
}

TEST_F(Golden, EmptySubjectMakesTheSanCritical) { EXPECT_EQ(svid({}, {}), golden::kEmptyTbs); }

TEST_F(Golden, ValuesOfOneAttributeAreSorted) {
  Name name;
  name.organization = {"b", "a"};
  name.organizational_unit = {"x*y"};
  EXPECT_EQ(svid(name, {}), golden::kMultiTbs);
}

TEST_F(Golden, DownstreamCaIsGos) {
  Name subject = downstream_ca_subject(*issuer_->certificate(), 1).take();
  CaOptions options{spiffe::TrustDomain::parse("example.org").take().id(), subject.encode().take(),
                    kSerial, validity(kNow, std::chrono::hours(1))};
  EXPECT_EQ(tbs_hex(issuer_->issue_ca(options, leaf_key_.public_key()).take()),
            golden::kDownstreamTbs);
}

TEST_F(Golden, RequestsAreGos) {
  CsrOptions options;
  EXPECT_EQ(tbs_hex(build_csr(leaf_key_, options).take()), golden::kCsrPlainTbs);
  options.uri_sans = {"spiffe://example.org/a"};
  options.dns_sans = {"a.example.org"};
  EXPECT_EQ(tbs_hex(build_csr(leaf_key_, options).take()), golden::kCsrIdTbs);
  options.dns_sans = {};
  options.subject = {};
  EXPECT_EQ(tbs_hex(build_csr(leaf_key_, options).take()), golden::kCsrEmptyTbs);
}

TEST_F(Golden, RefusesWhatCannotBeEncoded) {
  auto id = spiffe::SpiffeId::parse("spiffe://example.org/a").take();
  Bytes subject = default_svid_subject().encode().take();
  std::vector<std::string> dns = {"bücher.example"};
  SvidOptions options{
      id, leaf_key_.public_key(), subject, kSerial, validity(kNow, std::chrono::hours(1)), dns};
  EXPECT_THAT(issuer_->issue_svid(options).error().message, HasSubstr("IA5String"));
  options.dns_names = {};
  options.serial = Bytes(1, '\0');
  EXPECT_THAT(issuer_->issue_svid(options).error().message, HasSubstr("serial"));
  options.serial = kSerial;
  options.validity = {kNow, kNow - std::chrono::seconds(1)};
  EXPECT_THAT(issuer_->issue_svid(options).error().message, HasSubstr("ends before"));
  Name bad;
  bad.common_name = "\xff";
  EXPECT_FALSE(bad.encode().ok());
}

TEST(Name, PrintsAsGoDoes) {
  auto subject = [](std::string_view tbs) {
    // Wrapped into a certificate of no meaning, only to read the subject.
    Bytes der = hex_decode(tbs).take();
    Bytes whole = crypto::der_sequence(
        {der, hex_decode("300a06082a8648ce3d040303").take(), crypto::der_bit_string("s")});
    return Certificate::parse(whole).take()->subject_name().take().to_string();
  };
  EXPECT_EQ(subject(golden::kCaTbs),
            "SERIALNUMBER=321521701247558003770554266015257202944,CN=ü & co,O=SPIFFE,C=US");
  EXPECT_EQ(subject(golden::kDnsTbs), "CN=web.example.org,O=SPIRE,C=US,2.5.4.45=#0c056162635f31");
  EXPECT_EQ(subject(golden::kMultiTbs), "OU=x*y,O=a+O=b");
  EXPECT_EQ(subject(golden::kEmptyTbs), "");
  Name edgy;
  edgy.common_name = " #a,b+c\"\\<>; ";
  EXPECT_EQ(edgy.to_string(), "CN=\\ #a\\,b\\+c\\\"\\\\\\<\\>\\;\\ ");
}

class SignedBy : public testing::TestWithParam<crypto::KeyType> {};
INSTANTIATE_TEST_SUITE_P(, SignedBy,
                         testing::Values(crypto::KeyType::kEcP256, crypto::KeyType::kEcP384,
                                         crypto::KeyType::kRsa2048));

TEST_P(SignedBy, OpenSslReadsAndVerifiesTheSvid) {
  FakeAuthority authority("example.org", kNow, std::chrono::hours(24), GetParam());
  auto svid = authority.issue("/web", kNow);
  auto parse = [](const Bytes& der) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    X509* x509 = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
    EXPECT_TRUE(x509 != nullptr &&
                at == reinterpret_cast<const unsigned char*>(der.data()) + der.size());
    return std::unique_ptr<X509, decltype(&X509_free)>(x509, X509_free);
  };
  auto leaf = parse(svid.chain[0]);
  auto root = parse(authority.certificate()->der());
  EXPECT_EQ(X509_verify(leaf.get(), X509_get0_pubkey(root.get())), 1);
  EXPECT_EQ(X509_verify(root.get(), X509_get0_pubkey(root.get())), 1);
  EXPECT_EQ(X509_check_issued(root.get(), leaf.get()), X509_V_OK);
  EXPECT_EQ(X509_get_extension_flags(leaf.get()) & (EXFLAG_INVALID | EXFLAG_CA), 0U);
  EXPECT_EQ(X509_get_key_usage(leaf.get()),
            static_cast<uint32_t>(KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT));
  EXPECT_EQ(X509_get_extended_key_usage(leaf.get()),
            static_cast<uint32_t>(XKU_SSL_SERVER | XKU_SSL_CLIENT));
  EXPECT_EQ(X509_check_private_key(leaf.get(), svid.key->evp()), 1);
  EXPECT_EQ(X509_check_ca(root.get()), 1);
}

TEST(Issuer, RefusesAKeyOrACertificateThatDoesNotFit) {
  FakeAuthority a("example.org", kNow);
  FakeAuthority b("example.org", kNow);
  EXPECT_THAT(Issuer::make(a.certificate(), b.key()).error().message, HasSubstr("do not match"));
  auto svid = a.issue("/web", kNow);
  EXPECT_THAT(Issuer::make(Certificate::parse(svid.chain[0]).take(), svid.key).error().message,
              HasSubstr("not allowed"));
}

TEST(Validity, IsCappedToTheCaAndCutToSeconds) {
  WallTime now = kNow + std::chrono::milliseconds(900);
  Validity span = capped_validity(now, std::chrono::hours(2), kNow + std::chrono::hours(1));
  EXPECT_EQ(span.not_before, kNow - std::chrono::seconds(10));
  EXPECT_EQ(span.not_after, kNow + std::chrono::hours(1));
  EXPECT_EQ(capped_validity(now, std::chrono::minutes(1), kNow + std::chrono::hours(1)).not_after,
            kNow + std::chrono::minutes(1));
}

TEST(Serial, IsNeverZeroAndHasNoLeadingZeros) {
  SeededRandom random(1);
  for (int i = 0; i < 2000; ++i) {
    Bytes serial = random_serial(random);
    ASSERT_FALSE(serial.empty());
    ASSERT_NE(serial[0], '\0');
    ASSERT_LE(serial.size(), 16U);
  }
  EXPECT_EQ(decimal(kSerial), "321521701247558003770554266015257202944");
  EXPECT_EQ(decimal(""), "0");
  EXPECT_EQ(decimal(hex_decode("3b9aca00").take()), "1000000000");
  EXPECT_EQ(decimal(hex_decode("0de0b6b3a7640001").take()), "1000000000000000001");
}

TEST(IssuedSvid, IsCheckedBeforeItLeaves) {
  FakeAuthority authority("example.org", kNow);
  auto svid = authority.issue("/web", kNow);
  auto leaf = Certificate::parse(svid.chain[0]).take();
  auto id = spiffe::SpiffeId::parse("spiffe://example.org/web").take();
  auto other = spiffe::SpiffeId::parse("spiffe://example.org/other").take();
  const auto& key = svid.key->public_key();
  EXPECT_TRUE(validate_issued_svid(*leaf, id, key, kNow).ok());
  EXPECT_EQ(validate_issued_svid(*leaf, other, key, kNow).error().message,
            "invalid X509-SVID: expected URI SAN \"spiffe://example.org/other\" but got "
            "\"spiffe://example.org/web\"");
  EXPECT_EQ(validate_issued_svid(*leaf, id, key, kNow + std::chrono::hours(2)).error().message,
            "invalid X509-SVID: already expired as of 2030-01-01T01:00:00Z");
  EXPECT_EQ(validate_issued_svid(*leaf, id, key, kNow - std::chrono::hours(2)).error().message,
            "invalid X509-SVID: not yet valid until 2029-12-31T23:59:50Z");
  EXPECT_FALSE(validate_issued_svid(*leaf, id, authority.key()->public_key(), kNow).ok());
  EXPECT_EQ(validate_issued_svid(*authority.certificate(), authority.domain().id(),
                                 authority.key()->public_key(), kNow)
                .error()
                .message,
            "invalid X509-SVID: cA constraint must not be set");
  EXPECT_TRUE(validate_issued_ca(*authority.certificate(), authority.domain(),
                                 authority.key()->public_key(), kNow)
                  .ok());
  EXPECT_EQ(validate_issued_ca(*leaf, authority.domain(), key, kNow).error().message,
            "invalid X509 CA: cA constraint is not set");
}

}  // namespace
}  // namespace steeple::x509
