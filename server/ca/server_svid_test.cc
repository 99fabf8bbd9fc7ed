// SPDX-License-Identifier: Apache-2.0

// Goal: the server's TLS identity is always valid and leaves a tainted root at once. Method: an
// injected clock, a CA in memory.

#include "server/ca/server_svid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/telemetry/fake_log.h"
#include "lib/x509/fake_authority.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

class ServerSvidTest : public testing::Test {
 protected:
  ServerSvidTest() { activate(authority_); }
  void activate(const x509::FakeAuthority& authority) {
    ca_.activate(
        std::make_shared<const X509SigningAuthority>(X509SigningAuthority{authority.issuer()}));
  }
  Bytes leaf() { return svid_.identity().get()->chain.front(); }

  FakeClock clock_;
  SeededRandom random_{7};
  CapturedLog log_;
  x509::FakeAuthority authority_{"example.org", clock_.now()};
  Ca ca_{{.trust_domain = authority_.domain()}, {clock_, random_, no_metrics()}};
  ServerSvid svid_{crypto::KeyType::kEcP256, {clock_, ca_, log_.logger(), no_metrics()}};
};

TEST_F(ServerSvidTest, TheFirstTickMakesAnIdentityWhoseKeyFits) {
  EXPECT_FALSE(svid_.identity().get());
  ASSERT_TRUE(svid_.tick().ok());
  auto identity = svid_.identity().get();
  auto verified = x509::verify_svid(identity->chain, authority_.authorities(), clock_.now());
  ASSERT_TRUE(verified.ok());
  EXPECT_EQ(verified->id.text(), "spiffe://example.org/spire/server");
  EXPECT_EQ(verified->leaf->public_key(), identity->key->public_key());
}

TEST_F(ServerSvidTest, RenewsPastHalfOfItsLifeWithANewKey) {
  ASSERT_TRUE(svid_.tick().ok());
  const Bytes first = leaf();
  // 10 s before to 1 h after now: the middle is 29 min 55 s ahead.
  clock_.advance(minutes(29) + seconds(55));
  ASSERT_TRUE(svid_.tick().ok());
  EXPECT_EQ(leaf(), first);
  const auto key = svid_.identity().get()->key->public_key();
  clock_.advance(seconds(1));
  ASSERT_TRUE(svid_.tick().ok());
  EXPECT_NE(leaf(), first);
  EXPECT_FALSE(svid_.identity().get()->key->public_key() == key);
}

TEST_F(ServerSvidTest, AFailedRenewalKeepsTheOldIdentity) {
  ASSERT_TRUE(svid_.tick().ok());
  const Bytes first = leaf();
  clock_.advance(hours(25));  // the CA is expired
  EXPECT_FALSE(svid_.tick().ok());
  EXPECT_EQ(leaf(), first);
  EXPECT_TRUE(log_.has("Could not rotate server SVID"));
}

TEST_F(ServerSvidTest, LeavesATaintedRootAtOnceAndOnlyThen) {
  ASSERT_TRUE(svid_.tick().ok());
  const Bytes first = leaf();
  x509::FakeAuthority stranger("example.org", clock_.now());
  ca_.publish_tainted({stranger.certificate()});
  ASSERT_TRUE(svid_.tick().ok());
  EXPECT_EQ(leaf(), first);

  x509::FakeAuthority next("example.org", clock_.now());
  activate(next);
  ca_.publish_tainted({authority_.certificate()});
  ASSERT_TRUE(svid_.tick().ok());
  EXPECT_NE(leaf(), first);
  EXPECT_TRUE(log_.has(
      "Server SVID signed using a tainted authority, forcing rotation of the Server SVID"));
  const Bytes second = leaf();
  ASSERT_TRUE(svid_.tick().ok());
  EXPECT_EQ(leaf(), second);
}

TEST_F(ServerSvidTest, AClockThatJumpsBackRenews) {
  ASSERT_TRUE(svid_.tick().ok());
  const Bytes first = leaf();
  clock_.jump_wall(-seconds(11));
  activate(x509::FakeAuthority("example.org", clock_.now()));
  ASSERT_TRUE(svid_.tick().ok());
  EXPECT_NE(leaf(), first);
}

}  // namespace
}  // namespace steeple::server
