// SPDX-License-Identifier: Apache-2.0

// Goal: below an upstream authority, chains lead to its roots, its JWT bundle is shared where it
// can be, and a tainted root is left behind in the right order. Method: an upstream in memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/ca/fake_upstream.h"
#include "server/ca/fake_world.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::HasSubstr;

class UpstreamTest : public testing::Test {
 protected:
  UpstreamTest() {
    upstream_.now = world_.clock.now();
    world_.upstream = &upstream_;
  }
  void expect_signs() {
    auto svid = world_.x509();
    ASSERT_TRUE(svid.ok()) << svid.error().message;
    auto verified = world_.verify(svid->chain);
    EXPECT_TRUE(verified.ok()) << verified.error().message;
  }
  std::vector<bool> tainted_in_bundle() {
    std::vector<bool> out;
    for (const auto& root : world_.bundle().x509_authorities) {
      out.push_back(root.tainted);
    }
    return out;
  }
  CaWorld world_;
  FakeUpstream upstream_{"example.org", world_.clock.now()};
};

TEST_F(UpstreamTest, SvidsCarryTheCaAndTheBundleHasTheUpstreamsRoot) {
  auto started = world_.start();
  ASSERT_TRUE(started.ok()) << started.error().message;
  expect_signs();
  EXPECT_EQ(world_.x509().take().chain.size(), 2U);
  ASSERT_EQ(world_.bundle().x509_authorities.size(), 1U);
  EXPECT_EQ(world_.bundle().x509_authorities[0].der, upstream_.root()->der());
  auto line = world_.log.lines("X509 CA prepared").at(0);
  EXPECT_EQ(line.fields.at("self_signed"), "false");
  EXPECT_EQ(line.fields.at("upstream_authority_id"),
            hex_encode(upstream_.root()->subject_key_id()));
  EXPECT_EQ(world_.log
                .lines("UpstreamAuthority plugin does not support JWT-SVIDs. Workloads "
                       "managed by this server may have trouble communicating with "
                       "workloads outside this cluster when using JWT-SVIDs.")
                .size(),
            1U);
}

TEST_F(UpstreamTest, ARestartGoesOnWithTheSameCa) {
  ASSERT_TRUE(world_.start().ok());
  auto before = world_.keeper->x509_states().take().active->authority_id;
  upstream_.fail_with = unavailable("gone");
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(world_.keeper->x509_states().take().active->authority_id, before);
  EXPECT_EQ(world_.x509().take().chain.size(), 2U);
  expect_signs();
}

TEST_F(UpstreamTest, ACaThatDoesNotChainToTheRootsIsRefused) {
  x509::FakeAuthority stranger("example.org", world_.clock.now());
  upstream_.wrong_roots = {{{.der = stranger.certificate()->der()}}};
  auto refused = world_.start();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_THAT(refused.error().message,
              HasSubstr("X509 CA minted by upstream authority is invalid: X509 CA produced an "
                        "invalid X509-SVID chain: "));
  EXPECT_FALSE(world_.store->fetch_bundle(CaWorld::domain()).take()) << "no root was published";
}

TEST_F(UpstreamTest, AnUpstreamThatIsAwayDoesNotStopSigning) {
  ASSERT_TRUE(world_.start().ok());
  upstream_.fail_with = unavailable("gone");
  world_.clock.advance(hours(21));
  EXPECT_FALSE(world_.keeper->tick().ok());
  expect_signs();
  upstream_.fail_with.reset();
  upstream_.now = world_.clock.now();
  EXPECT_TRUE(world_.keeper->tick().ok());
  expect_signs();
}

TEST_F(UpstreamTest, JwtKeysAreSharedWithTheUpstream) {
  upstream_.shares_jwt_keys = true;
  upstream_.jwt_keys.push_back(
      {.spki_der =
           crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take()->public_key().spki(),
       .key_id = "sibling",
       .expires_at = world_.clock.now() + hours(24)});
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(upstream_.jwt_keys.size(), 2U);
  EXPECT_EQ(world_.bundle().jwt_authorities.size(), 2U);
  EXPECT_TRUE(world_.verify(world_.jwt().take().token).ok());
}

TEST_F(UpstreamTest, ATaintedRootIsLeftBehindBeforeTheBundleSaysSo) {
  ASSERT_TRUE(world_.start().ok());
  const std::string first = world_.keeper->x509_states().take().active->authority_id;
  const auto old_root = upstream_.root();
  upstream_.replace_root();
  ASSERT_TRUE(world_.keeper->tick().ok());
  EXPECT_TRUE(world_.log.has("X.509 authority tainted"));
  EXPECT_TRUE(world_.log.has(
      "Current root CA is signed by a tainted upstream authority, preparing rotation"));
  auto states = world_.keeper->x509_states().take();
  EXPECT_NE(states.active->authority_id, first);
  EXPECT_EQ(states.active->upstream_authority_id, hex_encode(upstream_.root()->subject_key_id()));
  ASSERT_TRUE(world_.ca->tainted().get());
  EXPECT_EQ(*world_.ca->tainted().get()->front(), *old_root);
  EXPECT_THAT(tainted_in_bundle(), testing::UnorderedElementsAre(true, false));
  expect_signs();

  upstream_.forget_tainted();
  ASSERT_TRUE(world_.keeper->tick().ok());
  EXPECT_TRUE(world_.log.has("X.509 authority revoked"));
  EXPECT_THAT(tainted_in_bundle(), testing::ElementsAre(false));
  expect_signs();
}

TEST_F(UpstreamTest, ATaintThatCannotBeHandledYetIsTriedAgain) {
  ASSERT_TRUE(world_.start().ok());
  upstream_.replace_root();
  upstream_.fail_with = unavailable("gone");
  static_cast<void>(world_.keeper->tick().ok());
  EXPECT_TRUE(world_.log.has("Failed to process tainted keys on upstream authority"));
  EXPECT_FALSE(world_.ca->tainted().get()) << "nobody moves before our CA has moved";
  expect_signs();
  upstream_.fail_with.reset();
  ASSERT_TRUE(world_.keeper->tick().ok());
  EXPECT_TRUE(world_.ca->tainted().get());
  expect_signs();
}

TEST_F(UpstreamTest, LocalAuthoritiesBelowAnUpstreamAreNotTaintedHere) {
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(world_.keeper->taint_x509("x").error().message,
            "local authority can't be tainted if there is an upstream authority");
  EXPECT_EQ(world_.keeper->revoke_x509("x").error().code, Code::kFailedPrecondition);
  EXPECT_EQ(world_.keeper->taint_upstream("").error().message,
            "provided subject key id is not valid: no subject key ID provided");
  EXPECT_EQ(
      world_.keeper->taint_upstream(hex_encode(upstream_.root()->subject_key_id())).error().message,
      "provided subject key id is not valid: unable to use upstream authority singing "
      "current authority");
}

}  // namespace
}  // namespace steeple::server
