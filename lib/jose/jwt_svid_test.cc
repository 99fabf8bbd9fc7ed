// SPDX-License-Identifier: Apache-2.0

// Goal: tokens are SPIRE's, and a token is accepted only by the rules of JWT-SVID sections 2 to 5
// and RFC 7515. Method: go-jose's tokens in golden_go.h, tokens signed here over chosen headers and
// claims, an injected time.

#include "lib/jose/jwt_svid.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/fake_random.h"
#include "lib/base/limits.h"
#include "lib/crypto/der.h"
#include "lib/jose/golden_go.h"
#include "lib/jose/jws.h"

namespace steeple::jose {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const WallTime kNow = from_unix_seconds(1'893'456'000);
using std::chrono::seconds;

std::shared_ptr<const crypto::PublicKey> golden_key(std::string_view spki) {
  return std::make_shared<const crypto::PublicKey>(
      crypto::PublicKey::from_spki(hex_decode(spki).take()).take());
}

JwtKeyOf only(std::shared_ptr<const crypto::PublicKey> key) {
  return [key](const spiffe::TrustDomain& domain,
               std::string_view id) -> Result<std::shared_ptr<const crypto::PublicKey>> {
    if (domain.name() != "example.org") {
      return not_found(fmt::format("no keys found for trust domain \"{}\"", domain.name()));
    }
    if (id != "kid1") {
      return not_found(fmt::format("public key \"{}\" not found in trust domain", id));
    }
    return key;
  };
}

// A P-256 token over any header and payload.
class Token : public testing::Test {
 protected:
  std::string make(std::string_view header, std::string_view payload) {
    std::string text = base64url_encode(header) + '.' + base64url_encode(payload);
    Bytes der = key_->sign(crypto::SignatureAlgorithm::kEcdsaSha256, text).take();
    auto reader = crypto::der_enter_only(der, crypto::tag::kSequence).take();
    Bytes raw;
    for (int i = 0; i < 2; ++i) {
      ByteView number = reader.unsigned_integer().take();
      raw += Bytes(32 - number.size(), '\0') + Bytes(number);
    }
    return text + '.' + base64url_encode(raw);
  }
  std::string claims(std::string_view payload) { return make(kHeader, payload); }
  Result<JwtSvid> verify(std::string_view token, WallTime now = kNow) {
    return verify_jwt_svid(token, {"me", "you"}, only(public_), now);
  }
  std::string why(std::string_view token, WallTime now = kNow) {
    auto result = verify(token, now);
    return result.ok() ? "" : result.error().message;
  }

  static constexpr std::string_view kHeader = R"({"alg":"ES256","kid":"kid1","typ":"JWT"})";
  static constexpr std::string_view kGood =
      R"({"sub":"spiffe://example.org/w","aud":["me"],"exp":1893456300})";
  std::shared_ptr<const crypto::PrivateKey> key_ =
      crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  std::shared_ptr<const crypto::PublicKey> public_ =
      std::make_shared<const crypto::PublicKey>(key_->public_key());
};

TEST(JwtSvid, AcceptsGosTokens) {
  for (auto [token, spki] : {std::pair{golden::kEs256, golden::kEcSpki},
                             {golden::kRs256, golden::kRsaSpki},
                             {golden::kPs384, golden::kRsaSpki}}) {
    auto svid = verify_jwt_svid(token, {"y"}, only(golden_key(spki)), kNow).take();
    EXPECT_EQ(svid.id.text(), "spiffe://example.org/w");
    EXPECT_THAT(svid.audience, ElementsAre("x", "y"));
    EXPECT_EQ(svid.expires_at, kNow + std::chrono::hours(1));
    EXPECT_EQ(svid.issued_at, kNow);
    EXPECT_EQ(svid.token, token);
  }
}

TEST_F(Token, SignedTextIsGosForTheSameClaims) {
  JwtSvidClaims claims{spiffe::SpiffeId::parse("spiffe://example.org/w").take(),
                       {"x", "", "y"},
                       kNow + std::chrono::hours(1),
                       kNow + std::chrono::milliseconds(900),
                       "i",
                       "j"};
  auto token = sign_jwt_svid(claims, *key_, "kid1").take();
  auto without_signature = [](std::string_view text) { return text.substr(0, text.rfind('.')); };
  EXPECT_EQ(without_signature(token), without_signature(golden::kEs256));
  auto svid = verify_jwt_svid(token, {"x"}, only(public_), kNow).take();
  EXPECT_THAT(svid.claims_json, HasSubstr(R"("iss":"i","jti":"j")"));
  claims.audience = {"", ""};
  EXPECT_EQ(sign_jwt_svid(claims, *key_, "kid1").error().message,
            "invalid JWT-SVID audience: cannot be empty");
}

TEST(JwtSvid, EveryKeyTypeSignsWithItsAlgorithm) {
  for (auto [type, name] : {std::pair{crypto::KeyType::kEcP256, "ES256"},
                            {crypto::KeyType::kEcP384, "ES384"},
                            {crypto::KeyType::kRsa2048, "RS256"}}) {
    auto key = crypto::PrivateKey::generate(type).take();
    JwtSvidClaims claims{
        spiffe::SpiffeId::parse("spiffe://example.org/w").take(), {"a"}, kNow + seconds(300), kNow};
    auto token = sign_jwt_svid(claims, *key, "kid1").take();
    EXPECT_EQ(algorithm_name(Jws::parse(token).take().header().algorithm), name);
    auto pub = std::make_shared<const crypto::PublicKey>(key->public_key());
    EXPECT_TRUE(verify_jwt_svid(token, {"a"}, only(pub), kNow).ok());
  }
}

TEST(JwtSvid, JtiIsAUuidOfVersionFour) {
  SeededRandom random(7);
  Bytes bytes = base64url_decode(random_jti(random)).take();
  ASSERT_EQ(bytes.size(), 16U);
  EXPECT_EQ(bytes[6] & 0xf0, 0x40);
  EXPECT_EQ(bytes[8] & 0xc0, 0x80);
}

TEST_F(Token, AlgorithmsOutsideTheListAreRefused) {
  for (std::string_view name : {"none", "HS256", "HS512", "EdDSA", "ES256K", "", "es256"}) {
    std::string header = fmt::format(R"({{"alg":"{}","kid":"kid1"}})", name);
    EXPECT_THAT(why(make(header, kGood)), HasSubstr("unexpected signature algorithm")) << name;
  }
  EXPECT_THAT(why(make(R"({"kid":"kid1"})", kGood)), HasSubstr("unexpected signature algorithm"));
  EXPECT_THAT(why(make(R"({"alg":["ES256"],"kid":"kid1"})", kGood)), HasSubstr("not a string"));
}

TEST_F(Token, AlgorithmAndKeyMustFit) {
  EXPECT_FALSE(verify(make(R"({"alg":"ES384","kid":"kid1"})", kGood)).ok());
  EXPECT_FALSE(verify(make(R"({"alg":"RS256","kid":"kid1"})", kGood)).ok());
  EXPECT_TRUE(verify(make(R"({"alg":"ES256","kid":"kid1"})", kGood)).ok());
}

TEST_F(Token, TypMayBeAbsentJwtOrJose) {
  EXPECT_TRUE(verify(make(R"({"alg":"ES256","kid":"kid1","typ":"JOSE"})", kGood)).ok());
  for (std::string_view type : {"jwt", "wit+jwt", ""}) {
    std::string header = fmt::format(R"({{"alg":"ES256","kid":"kid1","typ":"{}"}})", type);
    EXPECT_EQ(why(make(header, kGood)), "token header type not equal to either JWT or JOSE");
  }
}

TEST_F(Token, KidIsNeeded) {
  EXPECT_EQ(why(make(R"({"alg":"ES256"})", kGood)), "token header missing key id");
  EXPECT_THAT(why(make(R"({"alg":"ES256","kid":"other"})", kGood)), HasSubstr("not found"));
}

TEST_F(Token, CriticalHeadersAndDuplicatesAreRefused) {
  EXPECT_THAT(why(make(R"({"alg":"ES256","kid":"kid1","crit":["b64"],"b64":false})", kGood)),
              HasSubstr("crit"));
  EXPECT_THAT(why(make(R"({"alg":"ES256","kid":"kid1","alg":"ES256"})", kGood)),
              HasSubstr("duplicate member"));
  EXPECT_THAT(why(claims(R"({"sub":"spiffe://example.org/a","sub":"spiffe://example.org/b"})")),
              HasSubstr("duplicate member"));
}

TEST_F(Token, SubjectMustBeASpiffeId) {
  EXPECT_EQ(why(claims(R"({"aud":["me"],"exp":1893456300})")), "token missing subject claim");
  EXPECT_EQ(why(claims(R"({"sub":"","aud":["me"],"exp":1893456300})")),
            "token missing subject claim");
  EXPECT_EQ(why(claims(R"({"sub":"https://x/y","aud":["me"],"exp":1893456300})")),
            "token has an invalid subject claim: scheme is missing or invalid");
  EXPECT_THAT(why(claims(R"({"sub":7,"aud":["me"],"exp":1893456300})")), HasSubstr("not a string"));
  EXPECT_THAT(why(claims(R"({"sub":"spiffe://other.org/w","aud":["me"],"exp":1893456300})")),
              HasSubstr("no keys found for trust domain \"other.org\""));
}

TEST_F(Token, ExpiryIsNeededAndHasAMinuteOfLeeway) {
  EXPECT_EQ(why(claims(R"({"sub":"spiffe://example.org/w","aud":["me"]})")),
            "token missing exp claim");
  WallTime expiry = from_unix_seconds(1'893'456'300);
  std::string token = claims(kGood);
  EXPECT_EQ(why(token, expiry + seconds(60)), "");
  EXPECT_EQ(why(token, expiry + seconds(61)), "token has expired");
  for (std::string_view bad : {"\"1893456300\"", "true", "1e300", "[1]", "-1e300"}) {
    EXPECT_THAT(why(claims(fmt::format(
                    R"({{"sub":"spiffe://example.org/w","aud":["me"],"exp":{}}})", bad))),
                HasSubstr("unable to get claims"))
        << bad;
  }
  EXPECT_EQ(why(claims(R"({"sub":"spiffe://example.org/w","aud":["me"],"exp":1893456300.9})")), "");
}

TEST_F(Token, NotBeforeAndIssuedAtMayNotLieInTheFuture) {
  auto with = [&](std::string_view name, int ahead) {
    return why(claims(
        fmt::format(R"({{"sub":"spiffe://example.org/w","aud":["me"],"exp":1893466300,"{}":{}}})",
                    name, 1'893'456'000 + ahead)));
  };
  EXPECT_EQ(with("nbf", 60), "");
  EXPECT_THAT(with("nbf", 61), HasSubstr("not valid yet"));
  EXPECT_EQ(with("iat", 60), "");
  EXPECT_THAT(with("iat", 61), HasSubstr("issued in the future"));
}

TEST_F(Token, AudienceMustNameUs) {
  auto with = [&](std::string_view audience) {
    return why(claims(
        fmt::format(R"({{"sub":"spiffe://example.org/w","aud":{},"exp":1893456300}})", audience)));
  };
  EXPECT_EQ(with(R"("you")"), "") << "a single string is an audience too";
  EXPECT_EQ(with(R"(["other","you"])"), "");
  EXPECT_EQ(with(R"(["other"])"), "expected audience in [\"me\" \"you\"] (audience=[\"other\"])");
  EXPECT_EQ(with("[]"), "expected audience in [\"me\" \"you\"] (audience=[])");
  EXPECT_EQ(with("null"), "expected audience in [\"me\" \"you\"] (audience=[])");
  EXPECT_THAT(with("[1]"), HasSubstr("expected string or array"));
  EXPECT_THAT(with("{}"), HasSubstr("expected string or array"));
}

TEST_F(Token, EveryPrefixAndEveryChangedCharacterIsRefused) {
  std::string token = claims(kGood);
  for (std::size_t i = 0; i < token.size(); ++i) {
    ASSERT_FALSE(verify(token.substr(0, i)).ok()) << i;
  }
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string bent = token;
    bent[i] = bent[i] == 'A' ? 'B' : 'A';
    ASSERT_FALSE(verify(bent).ok()) << i;
  }
}

TEST_F(Token, OnlyCanonicalCompactFormIsRead) {
  std::string token = claims(kGood);
  for (const std::string& bad : {token + ".", token + "=", token + " ", " " + token, "." + token,
                                 std::string(".."), std::string(limits::kTokenBytesMax + 1, 'A'),
                                 std::string(R"({"payload":"","signatures":[]})")}) {
    EXPECT_THAT(why(bad), HasSubstr("unable to parse JWT token")) << bad.substr(0, 80);
  }
}

TEST_F(Token, ASignatureOfTheWrongLengthIsRefused) {
  std::string token = claims(kGood);
  std::string head = token.substr(0, token.rfind('.') + 1);
  for (std::size_t size : {1, 63, 65, 128}) {
    EXPECT_FALSE(verify(head + base64url_encode(Bytes(size, 'x'))).ok());
  }
  EXPECT_FALSE(verify(head + base64url_encode(Bytes(64, '\0'))).ok()) << "r = s = 0";
  EXPECT_FALSE(verify(head + base64url_encode(Bytes(64, '\xff'))).ok());
}

TEST_F(Token, InsecureParsingSkipsOnlyTheSignature) {
  std::string token = claims(kGood);
  token.back() = token.back() == 'A' ? 'Q' : 'A';
  std::string head = token.substr(0, token.rfind('.') + 1);
  std::string forged = head + base64url_encode(Bytes(64, 'x'));
  EXPECT_EQ(parse_jwt_svid_insecure(forged, {"me"}, kNow).take().id.text(),
            "spiffe://example.org/w");
  EXPECT_FALSE(parse_jwt_svid_insecure(forged, {"other"}, kNow).ok());
  EXPECT_FALSE(parse_jwt_svid_insecure(forged, {"me"}, kNow + std::chrono::hours(1)).ok());
}

}  // namespace
}  // namespace steeple::jose
