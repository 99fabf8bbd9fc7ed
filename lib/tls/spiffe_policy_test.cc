// SPDX-License-Identifier: Apache-2.0

// Goal: each policy lets in whom it says and nobody else. Method: chains of lib/x509, a fake clock,
// bundles that change under the policy.

#include "lib/tls/spiffe_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/fake_clock.h"
#include "lib/tls/fake_pki.h"

namespace steeple::tls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class SpiffePolicy : public testing::Test {
 protected:
  void SetUp() override {
    publish({{own_.domain(), own_.bundle()}, {federated_.domain(), federated_.bundle()}});
  }
  void publish(BundleSet set) { bundles_->publish(std::move(set)); }
  std::vector<Bytes> chain(const FakeAuthority& authority, std::string_view path,
                           Duration ttl = 1h) {
    return authority.identity(path, ttl)->chain;
  }
  static spiffe::SpiffeId id(std::string_view text) { return spiffe::SpiffeId::parse(text).take(); }

  FakeClock clock_;
  FakeAuthority own_{"example.org", clock_};
  FakeAuthority federated_{"federated.org", clock_};
  FakeAuthority stranger_{"stranger.org", clock_};
  std::shared_ptr<Watch<BundleSet>> bundles_ = std::make_shared<Watch<BundleSet>>();
  x509::AuthoritiesOf authorities_ = authorities_from(bundles_);
};

TEST_F(SpiffePolicy, TheServerTakesMembersAndAdminsOnly) {
  auto policy =
      verify_member_or_admin(own_.domain(),
                             {id("spiffe://federated.org/zed"), id("spiffe://federated.org/admin"),
                              id("spiffe://stranger.org/admin")},
                             authorities_, clock_);
  EXPECT_EQ((*policy(chain(own_, "/anything")).take()).text(), "spiffe://example.org/anything");
  EXPECT_EQ((*policy(chain(federated_, "/admin")).take()).text(), "spiffe://federated.org/admin");
  EXPECT_TRUE(policy(chain(federated_, "/zed")).ok());
  EXPECT_EQ(policy(chain(federated_, "/other")).error().message,
            "unexpected trust domain in ID \"spiffe://federated.org/other\"");
  EXPECT_EQ(x509::refusal_of(policy(chain(stranger_, "/admin")).error()), x509::Refusal::kNoBundle)
      << "an admin id without its trust domain's bundle proves nothing";
}

TEST_F(SpiffePolicy, AnAdminIsVerifiedAgainstItsOwnTrustDomain) {
  auto policy = verify_member_or_admin(own_.domain(), {id("spiffe://federated.org/admin")},
                                       authorities_, clock_);
  FakeAuthority forger("federated.org", clock_);
  EXPECT_EQ(x509::refusal_of(policy(chain(forger, "/admin")).error()),
            x509::Refusal::kUnknownAuthority);
  // A federated authority must not speak for us.
  publish({{own_.domain(), own_.bundle()}, {federated_.domain(), forger.bundle()}});
  FakeAuthority as_us("example.org", clock_);
  EXPECT_FALSE(policy(chain(as_us, "/spire/agent/x")).ok());
}

TEST_F(SpiffePolicy, OneOfSeveralIdsEachFromItsOwnTrustDomain) {
  auto policy = verify_one_of({id("spiffe://federated.org/b"), id("spiffe://example.org/a")},
                              authorities_, clock_);
  EXPECT_EQ((*policy(chain(own_, "/a")).take()).text(), "spiffe://example.org/a");
  EXPECT_TRUE(policy(chain(federated_, "/b")).ok());
  EXPECT_EQ(policy(chain(own_, "/b")).error().message, "unexpected ID \"spiffe://example.org/b\"");
  EXPECT_FALSE(policy(chain(federated_, "/a")).ok());
  EXPECT_FALSE(verify_one_of({}, authorities_, clock_)(chain(own_, "/a")).ok());
}

TEST_F(SpiffePolicy, AnAgentTakesItsServerOnly) {
  auto policy = verify_spire_server(own_.domain(), authorities_, clock_);
  EXPECT_TRUE(policy(chain(own_, "/spire/server")).ok());
  EXPECT_EQ(policy(chain(own_, "/spire/agent/x")).error().message,
            "unexpected ID \"spiffe://example.org/spire/agent/x\"");
  EXPECT_FALSE(policy(chain(federated_, "/spire/server")).ok());
  EXPECT_EQ(x509::refusal_of(policy(chain(own_, "/spire/server", -1s)).error()),
            x509::Refusal::kExpired);
  EXPECT_FALSE(policy({}).ok());
  EXPECT_FALSE(policy({"not a certificate"}).ok());
}

TEST_F(SpiffePolicy, TimeIsTheClocksAtTheHandshake) {
  auto policy = verify_spire_server(own_.domain(), authorities_, clock_);
  auto presented = chain(own_, "/spire/server", 10min);
  EXPECT_TRUE(policy(presented).ok());
  clock_.advance(11min);
  EXPECT_EQ(x509::refusal_of(policy(presented).error()), x509::Refusal::kExpired);
}

TEST_F(SpiffePolicy, TheNewestBundleCounts) {
  auto policy = verify_spire_server(own_.domain(), authorities_, clock_);
  auto presented = chain(own_, "/spire/server");
  EXPECT_TRUE(policy(presented).ok());
  publish({});
  EXPECT_EQ(x509::refusal_of(policy(presented).error()), x509::Refusal::kNoBundle);
  auto before_any = std::make_shared<Watch<BundleSet>>();
  auto early = verify_spire_server(own_.domain(), authorities_from(before_any), clock_);
  EXPECT_EQ(x509::refusal_of(early(presented).error()), x509::Refusal::kNoBundle);
}

TEST_F(SpiffePolicy, InsecureBootstrapLooksAtTheNameOnly) {
  auto policy = insecure_bootstrap(own_.domain());
  FakeAuthority anybody("example.org", clock_);
  EXPECT_EQ((*policy(chain(anybody, "/spire/server", -1s)).take()).text(),
            "spiffe://example.org/spire/server");
  EXPECT_THAT(policy(chain(own_, "/spire/agent/x")).error().message,
              HasSubstr("expected server SPIFFE ID \"spiffe://example.org/spire/server\"; got "
                        "[spiffe://example.org/spire/agent/x]"));
  EXPECT_FALSE(policy(chain(federated_, "/spire/server")).ok());
  EXPECT_FALSE(policy({}).ok());
  EXPECT_FALSE(policy({"junk"}).ok());
}

}  // namespace
}  // namespace steeple::tls
