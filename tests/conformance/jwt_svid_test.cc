// SPDX-License-Identifier: Apache-2.0

// JWT-SVID, as the library's validator keeps it; what lib/jose/jwt_svid_test.cc proves is not
// repeated. Tokens and keys from OpenSSL, put together here.

#include "spiffe/svid/jwt_svid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/conformance/crafted.h"

namespace spiffe::conformance {
namespace {

using testing::HasSubstr;

const char* const kClaims = R"({"sub":"spiffe://example.org/web","aud":["me"],"exp":1893456300})";

class JwtSvidClause : public testing::Test {
 protected:
  static BundleSet bundle_of(const std::string& members, const std::string& use = "jwt-svid",
                             const std::string& domain = "example.org") {
    BundleSet set;
    set.put(Bundle::from_document(TrustDomain::parse(domain).take(),
                                  R"({"keys":[{"kid":"k","use":")" + use + "\"," + members + "}]}")
                .take());
    return set;
  }
  static std::string why(const std::string& token, const BundleSet& bundles) {
    auto verified = JwtSvid::verify(token, bundles, {"me"}, kNow);
    return verified.ok() ? "" : verified.error().message;
  }
  static std::string header(const std::string& algorithm) {
    return R"({"alg":")" + algorithm + R"(","kid":"k","typ":"JWT"})";
  }

  const Key key_ = ec_key();
};

// 2.1: the nine algorithms.
TEST_F(JwtSvidClause, S2_1_EachAlgorithmOfTheTableIsAccepted) {
  const Key rsa = rsa_key();
  struct Case {
    const char* name;
    Key key;
    const EVP_MD* hash;
    bool pss;
  };
  for (const Case& c :
       {Case{"RS256", rsa, EVP_sha256(), false}, Case{"RS384", rsa, EVP_sha384(), false},
        Case{"RS512", rsa, EVP_sha512(), false}, Case{"PS256", rsa, EVP_sha256(), true},
        Case{"PS384", rsa, EVP_sha384(), true}, Case{"PS512", rsa, EVP_sha512(), true},
        Case{"ES256", key_, EVP_sha256(), false},
        Case{"ES384", ec_key("P-384"), EVP_sha384(), false},
        Case{"ES512", ec_key("P-521"), EVP_sha512(), false}}) {
    std::string made = token(c.key, header(c.name), kClaims, c.hash, c.pss);
    EXPECT_EQ(why(made, bundle_of(jwk_members(c.key))), "") << c.name;
  }
}

// 1 and 5.1: "JWS JSON Serialization MUST NOT be used."
TEST_F(JwtSvidClause, S5_1_JsonSerializationIsRefused) {
  std::string good = token(key_, header("ES256"), kClaims);
  BundleSet bundles = bundle_of(jwk_members(key_));
  ASSERT_EQ(why(good, bundles), "");
  std::size_t dot = good.find('.'), last = good.rfind('.');
  std::string flat = R"({"protected":")" + good.substr(0, dot) + R"(","payload":")" +
                     good.substr(dot + 1, last - dot - 1) + R"(","signature":")" +
                     good.substr(last + 1) + "\"}";
  EXPECT_NE(why(flat, bundles), "");
}

// 6.2: "Implementations MUST extract the JWT-SVID specific keys before using them for validation".
TEST_F(JwtSvidClause, S6_2_AKeyOfAnotherUseValidatesNoToken) {
  std::string good = token(key_, header("ES256"), kClaims);
  EXPECT_NE(why(good, bundle_of(jwk_members(key_), "other-svid")), "");
  EXPECT_NE(why(good, bundle_of(jwk_members(key_), "JWT-SVID")), "") << "4.2.2: case sensitive";
}

// SPIFFE Workload API 6.3: "the validator MUST use the bundle corresponding to the trust domain of
// the subject"; Federation 4.2: bundles MUST NOT be merged.
TEST_F(JwtSvidClause, WorkloadApi6_3_TheBundleOfTheSubjectsTrustDomainDecides) {
  const Key foreign = ec_key();
  BundleSet both = bundle_of(jwk_members(key_));
  BundleSet theirs = bundle_of(jwk_members(foreign), "jwt-svid", "other.org");
  both.put(*theirs.find(TrustDomain::parse("other.org").take()));
  EXPECT_NE(why(token(foreign, header("ES256"), kClaims), both), "") << "other.org vouches for us";
  EXPECT_THAT(why(token(key_, header("ES256"), kClaims), theirs), HasSubstr("no JWT bundle"));
}

}  // namespace
}  // namespace spiffe::conformance
