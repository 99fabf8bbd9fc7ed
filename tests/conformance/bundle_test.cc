// SPDX-License-Identifier: Apache-2.0

// SPIFFE Trust Domain and Bundle, section 4: how a bundle document is read.

#include "spiffe/bundle/bundle.h"

#include <gtest/gtest.h>

#include "spiffe/svid/jwt_svid.h"
#include "tests/conformance/crafted.h"

namespace spiffe::conformance {
namespace {

class BundleClause : public testing::Test {
 protected:
  steeple::Result<Bundle> read(const std::string& json) const {
    return Bundle::from_document(domain_, json);
  }
  // A document of one good JWT key and `entry`; how many keys it yields.
  std::size_t with(const std::string& entry) const {
    auto bundle =
        read(R"({"keys":[{"use":"jwt-svid","kid":"good",)" + members_ + "}," + entry + "]}");
    EXPECT_TRUE(bundle.ok()) << entry << ": " << bundle.error().message;
    return bundle.ok() ? bundle->jwt_authority_count() + bundle->x509_authorities()->size() : 99;
  }

  const TrustDomain domain_ = TrustDomain::parse("example.org").take();
  const Key key_ = ec_key();
  const std::string members_ = jwk_members(key_);
};

// 4.1: "SPIFFE implementations MUST NOT require their presence"; 4.1.1 and 4.1.2 are SHOULD.
TEST_F(BundleClause, S4_1_NothingButKeysIsNeeded) {
  EXPECT_TRUE(read(R"({"keys":[]})").ok());
  EXPECT_TRUE(read(R"({"keys":[],"anything":{"else":[1,"x",null]}})").ok());
}

// 4.1.1: "at least 64 bits of precision".
TEST_F(BundleClause, S4_1_1_TheSequenceNumberHas64Bits) {
  EXPECT_TRUE(read(R"({"keys":[],"spiffe_sequence":18446744073709551615})").ok());
  EXPECT_FALSE(read(R"({"keys":[],"spiffe_sequence":"1"})").ok()) << "MUST be an integer";
  EXPECT_FALSE(read(R"({"keys":[],"spiffe_sequence":1.5})").ok());
}

// 4.1.2: "its value MUST be an integer".
TEST_F(BundleClause, S4_1_2_TheRefreshHintIsAnInteger) {
  EXPECT_TRUE(read(R"({"keys":[],"spiffe_refresh_hint":2419200})").ok());
  EXPECT_FALSE(read(R"({"keys":[],"spiffe_refresh_hint":"5m"})").ok());
}

// 4.1.3: "The parameter keys MUST be present."
TEST_F(BundleClause, S4_1_3_KeysMustBePresent) {
  EXPECT_FALSE(read("{}").ok());
  EXPECT_FALSE(read(R"({"spiffe_sequence":1})").ok());
  EXPECT_FALSE(read(R"({"keys":{}})").ok());
}

// 4.1.3: without usable keys "workloads MUST treat all SVIDs from the trust domain as invalid".
TEST_F(BundleClause, S4_1_3_WithoutUsableKeysNothingOfTheTrustDomainIsTrusted) {
  std::string made = token(key_, R"({"alg":"ES256","kid":"k"})",
                           R"({"sub":"spiffe://example.org/web","aud":["me"],"exp":1893456300})");
  auto verdict = [&](const std::string& use) {
    BundleSet set;
    set.put(read(R"({"keys":[{"kid":"k","use":")" + use + "\"," + members_ + "}]}").take());
    return JwtSvid::verify(made, set, {"me"}, kNow).ok();
  };
  EXPECT_TRUE(verdict("jwt-svid"));
  EXPECT_FALSE(verdict("unknown"));
  BundleSet empty;
  empty.put(read(R"({"keys":[]})").take());
  EXPECT_FALSE(JwtSvid::verify(made, empty, {"me"}, kNow).ok());
}

// 4.2.1: "Clients encountering an unknown key type MUST ignore the entire JWK element."
TEST_F(BundleClause, S4_2_1_UnknownKeyTypesAreIgnored) {
  EXPECT_EQ(with(R"({"use":"jwt-svid","kid":"x","kty":"LATTICE","m":"AA"})"), 1U);
  EXPECT_EQ(with(R"({"use":"jwt-svid","kid":"y",)" + jwk_members(ec_key()) + "}"), 2U);
}

// 4.2.2: "either a missing use parameter or an unknown use value MUST ignore the entire JWK"; "The
// values are case sensitive."
TEST_F(BundleClause, S4_2_2_EntriesOfMissingOrUnknownUseAreIgnored) {
  for (const char* use : {"", R"("use":"wit-svid",)", R"("use":"Jwt-Svid",)", R"("use":"sig",)"}) {
    EXPECT_EQ(with(std::string("{") + use + R"("kid":"x",)" + jwk_members(ec_key()) + "}"), 1U)
        << use;
  }
}

// JWT-SVID 6.1: "the kid parameter of each JWK entry MUST be set".
TEST_F(BundleClause, JwtSvid6_1_AJwtKeyWithoutKidIsRefused) {
  EXPECT_FALSE(read(R"({"keys":[{"use":"jwt-svid",)" + members_ + "}]}").ok());
}

}  // namespace
}  // namespace spiffe::conformance
