// SPDX-License-Identifier: Apache-2.0

// Goal: certificates and tokens have exactly the profile of the reference (surface 5.1, 5.2), and
// nothing outlives what signed it. Method: a CA with a fixed clock; what it issues is parsed again.

#include "server/ca/ca.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/jose/jws.h"
#include "lib/x509/fake_authority.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CaTest : public testing::Test {
 protected:
  CaTest() : authority_("example.org", clock_.now()) {
    ca_.activate(
        std::make_shared<const X509SigningAuthority>(X509SigningAuthority{authority_.issuer()}));
    ca_.activate(std::make_shared<const JwtSigningAuthority>(
        JwtSigningAuthority{jwt_key_, "key-1", clock_.now() + hours(24)}));
  }
  spiffe::SpiffeId id(std::string_view path) {
    return spiffe::SpiffeId::make(authority_.domain(), path).take();
  }
  static std::string payload(const std::string& token) {
    return jose::Jws::parse(token).take().unverified_payload();
  }

  FakeClock clock_;
  SeededRandom random_{7};
  x509::FakeAuthority authority_;
  std::shared_ptr<const crypto::PrivateKey> key_ =
      crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  std::shared_ptr<const crypto::PrivateKey> jwt_key_ =
      crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  Ca ca_{{.trust_domain = authority_.domain(), .agent_ttl = minutes(30)},
         {clock_, random_, no_metrics()}};
};

TEST_F(CaTest, WorkloadSvidHasTheProfile) {
  const std::vector<std::string> dns = {"web.example", "web"};
  const auto web = id("/web");
  auto svid =
      ca_.sign_workload_x509_svid({.public_key = key_->public_key(), .id = web, .dns_names = dns})
          .take();
  const x509::Certificate& leaf = *svid.leaf;
  EXPECT_THAT(svid.chain, ElementsAre(leaf.der())) << "a self-signed root is never in the chain";
  EXPECT_THAT(leaf.uri_sans(), ElementsAre("spiffe://example.org/web"));
  EXPECT_THAT(leaf.dns_sans(), ElementsAre("web.example", "web"));
  EXPECT_EQ(leaf.key_usage(), x509::key_usage::kDigitalSignature |
                                  x509::key_usage::kKeyEncipherment |
                                  x509::key_usage::kKeyAgreement);
  EXPECT_TRUE(leaf.extended_key_usage_server_auth());
  EXPECT_TRUE(leaf.extended_key_usage_client_auth());
  EXPECT_TRUE(leaf.has_basic_constraints());
  EXPECT_FALSE(leaf.is_ca());
  EXPECT_EQ(leaf.subject_name().take().to_string(), "CN=web.example,O=SPIRE,C=US");
  EXPECT_EQ(leaf.not_before(), clock_.now() - seconds(10));
  EXPECT_EQ(leaf.not_after(), clock_.now() + hours(1));
  EXPECT_EQ(leaf.authority_key_id(), authority_.certificate()->subject_key_id());
  EXPECT_TRUE(x509::verify_svid(svid.chain, authority_.authorities(), clock_.now()).ok());
}

TEST_F(CaTest, TheSubjectMayBeGivenAndStillTakesTheFirstDnsName) {
  x509::Name subject;
  subject.organization = {"ACME"};
  subject.common_name = "mine";
  const std::vector<std::string> dns = {"web.example"};
  const auto web = id("/web");
  auto plain = ca_.sign_workload_x509_svid(
                      {.public_key = key_->public_key(), .id = web, .subject = &subject})
                   .take();
  EXPECT_EQ(plain.leaf->subject_name().take().to_string(), "CN=mine,O=ACME");
  auto with_dns =
      ca_.sign_workload_x509_svid(
             {.public_key = key_->public_key(), .id = web, .dns_names = dns, .subject = &subject})
          .take();
  EXPECT_EQ(with_dns.leaf->subject_name().take().to_string(), "CN=web.example,O=ACME");
}

TEST_F(CaTest, NoSvidOutlivesTheCa) {
  const auto web = id("/web");
  auto svid =
      ca_.sign_workload_x509_svid({.public_key = key_->public_key(), .id = web, .ttl = hours(1000)})
          .take();
  EXPECT_EQ(svid.leaf->not_after(), authority_.certificate()->not_after());
}

TEST_F(CaTest, AgentAndServerHaveTheirOwnLifetimeAndId) {
  auto agent = ca_.sign_agent_x509_svid(key_->public_key(), id("/spire/agent/x/y")).take();
  EXPECT_EQ(agent.leaf->not_after(), clock_.now() + minutes(30));
  EXPECT_EQ(agent.leaf->subject_name().take().to_string(), "O=SPIRE,C=US");
  auto server = ca_.sign_server_x509_svid(key_->public_key()).take();
  EXPECT_THAT(server.leaf->uri_sans(), ElementsAre("spiffe://example.org/spire/server"));
  EXPECT_EQ(server.leaf->not_after(), clock_.now() + hours(1));
}

TEST_F(CaTest, SerialNumbersDiffer) {
  std::set<std::string> serials;
  for (int i = 0; i < 100; ++i) {
    serials.insert(ca_.sign_server_x509_svid(key_->public_key()).take().leaf->serial_decimal());
  }
  EXPECT_EQ(serials.size(), 100U);
}

TEST_F(CaTest, DownstreamCaIsNamedByTheChainItHangsOn) {
  auto minted = ca_.sign_downstream_x509_ca(key_->public_key(), hours(2)).take();
  EXPECT_TRUE(minted.leaf->is_ca());
  EXPECT_EQ(minted.leaf->key_usage(), x509::key_usage::kCertSign | x509::key_usage::kCrlSign);
  EXPECT_THAT(minted.leaf->uri_sans(), ElementsAre("spiffe://example.org"));
  EXPECT_THAT(minted.leaf->subject_name().take().organizational_unit, ElementsAre("DOWNSTREAM-1"));
  EXPECT_EQ(minted.leaf->not_after(), clock_.now() + hours(2));

  auto intermediate = authority_.intermediate(clock_.now());
  ca_.activate(std::make_shared<const X509SigningAuthority>(
      X509SigningAuthority{intermediate.issuer(), {intermediate.certificate()->der(), "other"}}));
  minted = ca_.sign_downstream_x509_ca(key_->public_key(), hours(0)).take();
  EXPECT_THAT(minted.leaf->subject_name().take().organizational_unit, ElementsAre("DOWNSTREAM-2"));
  EXPECT_EQ(minted.chain.size(), 3U);
}

TEST_F(CaTest, OnlyMembersGetSvids) {
  const auto stranger = spiffe::SpiffeId::parse("spiffe://other.org/web").take();
  EXPECT_EQ(ca_.sign_workload_x509_svid({.public_key = key_->public_key(), .id = stranger})
                .error()
                .message,
            "invalid X509-SVID ID: \"spiffe://other.org/web\" is not a member of trust domain "
            "\"example.org\"");
  const auto root = authority_.domain().id();
  EXPECT_THAT(ca_.sign_agent_x509_svid(key_->public_key(), root).error().message,
              HasSubstr("path is empty"));
  const std::vector<std::string> audience = {"a"};
  EXPECT_THAT(ca_.sign_workload_jwt_svid({.id = stranger, .audience = audience}).error().message,
              HasSubstr("invalid JWT-SVID ID: \"spiffe://other.org/web\" is not a member"));
}

TEST_F(CaTest, NothingIsSignedBeforeThereIsAnAuthorityNorAfterItsEnd) {
  Ca empty({.trust_domain = authority_.domain()}, {clock_, random_, no_metrics()});
  EXPECT_EQ(empty.sign_server_x509_svid(key_->public_key()).error().message,
            "X509 CA is not available for signing");
  EXPECT_EQ(empty.check_health().error().message, "X509 CA is not available for signing");
  EXPECT_TRUE(ca_.check_health().ok());

  clock_.advance(hours(24) + seconds(1));
  EXPECT_THAT(ca_.sign_server_x509_svid(key_->public_key()).error().message,
              HasSubstr("invalid server X509-SVID: "));
  const auto web = id("/web");
  const std::vector<std::string> audience = {"a"};
  EXPECT_THAT(ca_.sign_workload_jwt_svid({.id = web, .audience = audience}).error().message,
              HasSubstr("already expired"));
}

TEST_F(CaTest, JwtClaimsAreTheReferences) {
  const auto web = id("/web");
  const std::vector<std::string> audience = {"", "one", "two", ""};
  auto token = ca_.sign_workload_jwt_svid({.id = web, .audience = audience}).take();
  EXPECT_EQ(payload(token.token), R"({"aud":["one","two"],"exp":1893456300,"iat":1893456000,)"
                                  R"("sub":"spiffe://example.org/web"})");
  auto header = jose::Jws::parse(token.token).take().header();
  EXPECT_EQ(header.key_id, "key-1");
  EXPECT_EQ(header.type, "JWT");
  EXPECT_EQ(token.expires_at, clock_.now() + minutes(5));

  auto capped =
      ca_.sign_workload_jwt_svid({.id = web, .audience = audience, .ttl = hours(100)}).take();
  EXPECT_EQ(capped.expires_at, clock_.now() + hours(24));
}

TEST_F(CaTest, JwtWithoutAudienceIsRefused) {
  const auto web = id("/web");
  for (const auto& audience : {std::vector<std::string>{}, std::vector<std::string>{"", ""}}) {
    auto refused = ca_.sign_workload_jwt_svid({.id = web, .audience = audience});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_EQ(refused.error().message, "invalid JWT-SVID audience: cannot be empty");
  }
}

TEST_F(CaTest, JwtMayCarryIssuerAndJti) {
  Ca ca({.trust_domain = authority_.domain(), .jwt_issuer = "https://issuer"},
        {clock_, random_, no_metrics()});
  ca.activate(std::make_shared<const JwtSigningAuthority>(
      JwtSigningAuthority{jwt_key_, "key-1", clock_.now() + hours(24)}));
  const auto web = id("/web");
  const std::vector<std::string> audience = {"a"};
  auto claims =
      payload(ca.sign_workload_jwt_svid({.id = web, .audience = audience, .include_jti = true})
                  .take()
                  .token);
  EXPECT_THAT(claims, HasSubstr(R"("iss":"https://issuer")"));
  EXPECT_THAT(claims, HasSubstr(R"("jti":")"));
}

TEST_F(CaTest, TaintedRootsAddUpForSlowReaders) {
  x509::FakeAuthority other("example.org", clock_.now());
  ca_.publish_tainted({authority_.certificate()});
  ca_.publish_tainted({other.certificate()});
  EXPECT_THAT(*ca_.tainted().get(), ElementsAre(authority_.certificate(), other.certificate()));
}

TEST(ValidateCa, RefusesWhatIsNoCaOfThisTrustDomain) {
  FakeClock clock;
  x509::FakeAuthority authority("example.org", clock.now());
  const auto& domain = authority.domain();
  EXPECT_TRUE(validate_ca(*authority.certificate(), domain, clock.now()).ok());
  auto leaf = x509::Certificate::parse(authority.issue("/web", clock.now()).chain[0]).take();
  EXPECT_EQ(validate_ca(*leaf, domain, clock.now()).error().message,
            "invalid X509 CA: cA constraint is not set");
  auto other = spiffe::TrustDomain::parse("other.org").take();
  EXPECT_EQ(validate_ca(*authority.certificate(), other, clock.now()).error().message,
            "invalid X509 CA: expected URI SAN \"spiffe://other.org\" but got "
            "\"spiffe://example.org\"");
  EXPECT_EQ(validate_ca(*authority.certificate(), domain, clock.now() + hours(25)).error().message,
            "invalid X509 CA: already expired as of 2030-01-02T00:00:00Z");
  EXPECT_EQ(validate_ca(*authority.certificate(), domain, clock.now() - hours(1)).error().message,
            "invalid X509 CA: not yet valid until 2029-12-31T23:59:50Z");
}

}  // namespace
}  // namespace steeple::server
