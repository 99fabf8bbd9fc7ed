// SPDX-License-Identifier: Apache-2.0

// Goal: bundle documents are SPIRE's byte for byte and read by the rules of SPIFFE Trust Domain and
// Bundle section 4. Method: go-spiffe's output in golden_go.h, and documents made by hand.

#include "lib/jose/bundle_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/crypto/hash.h"
#include "lib/crypto/private_key.h"
#include "lib/jose/golden_go.h"
#include "lib/x509/fake_authority.h"

namespace steeple::jose {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Bytes unhex(std::string_view text) { return hex_decode(text).take(); }

spiffe::TrustDomain domain() { return spiffe::TrustDomain::parse("example.org").take(); }

Bundle golden_bundle() {
  Bundle bundle{domain()};
  bundle.x509_authorities = {{unhex(golden::kCertificate)}};
  bundle.jwt_authorities = {{unhex(golden::kRsaSpki), "a<&>\"key"}};
  bundle.sequence_number = UINT64_MAX;
  bundle.refresh_hint = std::chrono::minutes(5);
  return bundle;
}

TEST(BundleDocument, CompactIsGoSpiffes) {
  EXPECT_EQ(encode_bundle_document(golden_bundle(), {.style = JsonStyle::kCompact}).take(),
            unhex(golden::kCompactHex));
}

TEST(BundleDocument, IndentedIsGos) {
  EXPECT_EQ(hex_encode(crypto::sha256(encode_bundle_document(golden_bundle(), {}).take())),
            golden::kIndentedSha256);
}

TEST(BundleDocument, EmptyBundleHasEmptyKeysAndNoZeroFields) {
  EXPECT_EQ(encode_bundle_document(Bundle{domain()}, {}).take(), "{\n    \"keys\": []\n}");
}

TEST(BundleDocument, RoundTrips) {
  for (auto style : {JsonStyle::kCompact, JsonStyle::kIndented}) {
    auto text = encode_bundle_document(golden_bundle(), {.style = style}).take();
    EXPECT_EQ(parse_bundle_document(domain(), text).take(), golden_bundle());
  }
}

TEST(BundleDocument, JwtBundleIsAPlainSetOfJwtKeys) {
  auto text = encode_jwt_bundle(golden_bundle()).take();
  EXPECT_THAT(text, StartsWith("{\n    \"keys\": [\n        {\n            \"kty\": \"RSA\",\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("spiffe_")));
  EXPECT_THAT(text, testing::Not(HasSubstr("\"use\"")));
  EXPECT_EQ(parse_jwks(text).take().size(), 1U);
  EXPECT_EQ(encode_jwt_bundle(Bundle{domain()}).take(), "{\n    \"keys\": []\n}");
}

TEST(BundleDocument, JwtKeysAreInOrderOfTheirIds) {
  Bundle bundle{domain()};
  for (const char* id : {"b", "c", "a"}) {
    bundle.jwt_authorities.push_back({unhex(golden::kEcSpki), id});
  }
  auto keys = parse_jwks(encode_jwt_bundle(bundle).take()).take();
  EXPECT_EQ(keys[0].key_id + keys[1].key_id + keys[2].key_id, "abc");
}

TEST(BundleDocument, ADamagedAuthorityIsAnError) {
  Bundle bundle{domain()};
  bundle.x509_authorities = {{"junk"}};
  EXPECT_EQ(encode_bundle_document(bundle, {}).error().code, Code::kInternal);
}

Result<Bundle> parse(std::string_view text) { return parse_bundle_document(domain(), text); }

std::string ec_jwk(std::string_view members) {
  auto key = crypto::PublicKey::from_spki(unhex(golden::kEcSpki)).take();
  std::string text = encode_jwk(Jwk{key});
  return text.substr(0, text.size() - 1) + std::string(members) + "}";
}

TEST(BundleDocument, KeysMustBeThereButMayBeEmpty) {
  EXPECT_EQ(parse("{}").error().message, "spiffebundle: no authorities found");
  EXPECT_EQ(parse(R"({"keys":null})").error().message, "spiffebundle: no authorities found");
  EXPECT_TRUE(parse(R"({"keys":[]})").take().x509_authorities.empty());
}

TEST(BundleDocument, UnknownUseAndKeyTypeAreIgnored) {
  std::string text = R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","use":"jwt-svid"},)"
                     R"({"kty":"oct","k":"AAAA","use":"jwt-svid"},)"
                     R"({"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","use":"jwt-svid"},)" +
                     ec_jwk(R"(,"use":"wit-svid","kid":"w")") + "," + ec_jwk("") + "," +
                     ec_jwk(R"(,"use":"jwt-svid","kid":"k")") + "]}";
  Bundle bundle = parse(text).take();
  ASSERT_EQ(bundle.jwt_authorities.size(), 1U);
  EXPECT_EQ(bundle.jwt_authorities[0].key_id, "k");
  EXPECT_TRUE(bundle.x509_authorities.empty());
}

TEST(BundleDocument, JwtEntriesNeedAKid) {
  EXPECT_EQ(parse(R"({"keys":[)" + ec_jwk(R"(,"use":"jwt-svid")") + "]}").error().message,
            "spiffebundle: error adding authority 0 of JWKS: keyID cannot be empty");
}

TEST(BundleDocument, FirstCertificateCountsAndAnEntryWithoutIsIgnored) {
  std::string certificate = base64_encode(unhex(golden::kCertificate));
  std::string two = R"(,"use":"x509-svid","x5c":[")" + certificate + "\",\"" + certificate + "\"]";
  EXPECT_EQ(parse(R"({"keys":[)" + ec_jwk(two) + "]}").take().x509_authorities.size(), 1U);
  EXPECT_TRUE(parse(R"({"keys":[)" + ec_jwk(R"(,"use":"x509-svid")") + "]}")
                  .take()
                  .x509_authorities.empty());
}

TEST(BundleDocument, CertificateAndKeyMustAgree) {
  x509::FakeAuthority other("example.org", from_unix_seconds(1'893'456'000));
  std::string x5c =
      R"(,"use":"x509-svid","x5c":[")" + base64_encode(other.certificate()->der()) + "\"]";
  EXPECT_THAT(parse(R"({"keys":[)" + ec_jwk(x5c) + "]}").error().message,
              HasSubstr("do not match"));
}

TEST(BundleDocument, RefusesDamage) {
  for (std::string_view text :
       {"", "[]", "{", R"({"keys":[]}x)", R"({"keys":{}})", R"({"keys":[1]})", R"({"keys":[{}]})",
        R"({"keys":[],"keys":[]})", R"({"keys":[],"spiffe_sequence":-1})",
        R"({"keys":[],"spiffe_sequence":1.5})", R"({"keys":[],"spiffe_sequence":"1"})",
        R"({"keys":[],"spiffe_refresh_hint":1e30})",
        R"({"keys":[],"spiffe_refresh_hint":9223372036854775807})",
        R"({"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]})",
        R"({"keys":[{"kty":"RSA","n":"AA","e":"AQAB"}]})", "{\"keys\":[],\"a\":\"\xff\"}"}) {
    EXPECT_THAT(parse(text).error().message, StartsWith("spiffebundle: ")) << text;
  }
  EXPECT_THAT(parse(R"({"keys":[)" + ec_jwk(R"(,"d":"AA")") + "]}").error().message,
              HasSubstr("private key"));
  std::string deep(100, '[');
  EXPECT_THAT(parse("{\"keys\":" + deep).error().message, HasSubstr("nested too deep"));
}

TEST(BundleDocument, EveryPrefixIsRefused) {
  std::string text = encode_bundle_document(golden_bundle(), {}).take();
  for (std::size_t i = 0; i < text.size(); ++i) {
    ASSERT_FALSE(parse(std::string_view(text).substr(0, i)).ok()) << i;
  }
}

TEST(Jwk, RoundTripsForAllKeyTypes) {
  for (auto type :
       {crypto::KeyType::kEcP256, crypto::KeyType::kEcP384, crypto::KeyType::kRsa2048}) {
    auto key = crypto::PrivateKey::generate(type).take();
    Jwk jwk{key->public_key(), "id", "sig", "ES256"};
    Jwk again = parse_jwk(encode_jwk(jwk)).take();
    EXPECT_EQ(again.key, jwk.key);
    EXPECT_EQ(again.key_id, "id");
    EXPECT_EQ(again.use, "sig");
    EXPECT_EQ(again.algorithm, "ES256");
  }
}

TEST(Jwk, ThumbprintIsGoJoses) {
  EXPECT_EQ(thumbprint(crypto::PublicKey::from_spki(unhex(golden::kEcSpki)).take()),
            golden::kEcThumbprint);
}

}  // namespace
}  // namespace steeple::jose
