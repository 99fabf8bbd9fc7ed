// SPDX-License-Identifier: Apache-2.0

// Goal: there is always a valid authority, known to everybody before it signs, and a restart at any
// moment goes on with it. Method: real SQLite and key files, an injected clock, whole restarts, and
// disks that stop after each number of writes.

#include "server/ca/authority_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "server/ca/fake_world.h"
#include "server/ca/journal.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::Contains;
using testing::Key;

class KeeperTest : public testing::Test {
 protected:
  std::string active() { return world_.keeper->x509_states().take().active->authority_id; }
  std::string active_jwt() { return world_.keeper->jwt_states().take().active->authority_id; }
  void expect_signs() {
    auto svid = world_.x509();
    ASSERT_TRUE(svid.ok()) << svid.error().message;
    auto verified = world_.verify(svid->chain);
    EXPECT_TRUE(verified.ok()) << verified.error().message;
    auto token = world_.jwt();
    ASSERT_TRUE(token.ok()) << token.error().message;
    verified = world_.verify(token->token);
    EXPECT_TRUE(verified.ok()) << verified.error().message;
  }
  CaWorld world_;
};

TEST_F(KeeperTest, FirstStartMakesAuthoritiesAndLogsThemAsSpire) {
  auto started = world_.start();
  ASSERT_TRUE(started.ok()) << started.error().message;
  expect_signs();
  auto prepared = world_.log.lines("X509 CA prepared");
  ASSERT_EQ(prepared.size(), 1U);
  EXPECT_EQ(prepared[0].level, LogLevel::kInfo);
  EXPECT_EQ(prepared[0].fields.at("slot"), "A");
  EXPECT_EQ(prepared[0].fields.at("local_authority_id"), active());
  EXPECT_EQ(prepared[0].fields.at("self_signed"), "true");
  EXPECT_EQ(prepared[0].fields.at("upstream_authority_id"), "");
  EXPECT_EQ(prepared[0].fields.at("issued_at"), "2030-01-01 00:00:00 +0000 UTC");
  EXPECT_EQ(prepared[0].fields.at("expiration"), "2030-01-02 00:00:00 +0000 UTC");
  ASSERT_EQ(world_.log.lines("X509 CA activated").size(), 1U);
  EXPECT_THAT(world_.log.lines("X509 CA activated")[0].fields, Contains(Key("expiration")));
  ASSERT_EQ(world_.log.lines("JWT key prepared").size(), 1U);
  EXPECT_EQ(world_.log.lines("JWT key prepared")[0].fields.at("local_authority_id"), active_jwt());
  EXPECT_EQ(active_jwt().size(), 32U);
  EXPECT_TRUE(world_.log.has("JWT key activated"));
  EXPECT_TRUE(world_.keys->get_key("x509-CA-A").ok());
  EXPECT_TRUE(world_.keys->get_key("JWT-Signer-A").ok());
}

TEST_F(KeeperTest, ARestartGoesOnWithTheSameAuthorities) {
  ASSERT_TRUE(world_.start().ok());
  const std::string x509 = active();
  const std::string jwt = active_jwt();
  world_.log.clear();
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(active(), x509);
  EXPECT_EQ(active_jwt(), jwt);
  EXPECT_FALSE(world_.log.has("X509 CA prepared"));
  EXPECT_TRUE(world_.log.has("X509 CA activated"));
  EXPECT_EQ(world_.bundle().x509_authorities.size(), 1U);
  expect_signs();
}

TEST_F(KeeperTest, PreparesAtHalfLifeAndActivatesAtFiveSixths) {
  ASSERT_TRUE(world_.start().ok());
  const std::string first = active();
  world_.clock.advance(hours(12));
  ASSERT_TRUE(world_.keeper->tick().ok());
  EXPECT_FALSE(world_.keeper->x509_states().take().prepared) << "exactly at the threshold";
  world_.clock.advance(seconds(1));
  ASSERT_TRUE(world_.keeper->tick().ok());
  auto states = world_.keeper->x509_states().take();
  ASSERT_TRUE(states.prepared);
  EXPECT_EQ(states.active->authority_id, first);
  // In the bundle before it signs.
  EXPECT_EQ(world_.bundle().x509_authorities.size(), 2U);
  EXPECT_EQ(world_.bundle().jwt_authorities.size(), 2U);
  const std::string second = states.prepared->authority_id;

  world_.clock.advance(hours(8));
  ASSERT_TRUE(world_.keeper->tick().ok());
  states = world_.keeper->x509_states().take();
  EXPECT_EQ(states.active->authority_id, second);
  ASSERT_TRUE(states.old);
  EXPECT_EQ(states.old->authority_id, first);
  EXPECT_FALSE(states.prepared);
  expect_signs();
}

TEST_F(KeeperTest, NothingIsLostOverThreeMonthsOfRotationAndRestarts) {
  ASSERT_TRUE(world_.start().ok());
  struct Issued {
    SignedX509 svid;
    SignedJwt token;
  };
  std::deque<Issued> issued;
  std::set<std::string> authorities;
  for (int hour = 0; hour < 24 * 92; ++hour) {
    world_.clock.advance(hours(1));
    if (hour % 37 == 36) {
      ASSERT_TRUE(world_.start().ok()) << hour;
    } else {
      ASSERT_TRUE(world_.keeper->tick().ok()) << hour;
    }
    auto svid = world_.x509(hours(4));
    auto token = world_.jwt(hours(4));
    ASSERT_TRUE(svid.ok() && token.ok()) << hour;
    // Four hours are promised by the thresholds of a CA of a day, but for the tick's delay.
    EXPECT_GE(svid->leaf->not_after() - world_.clock.now(), hours(3)) << hour;
    EXPECT_GE(token->expires_at - world_.clock.now(), hours(3)) << hour;
    issued.push_back({std::move(svid).take(), std::move(token).take()});
    std::erase_if(issued, [&](const Issued& one) {
      return one.svid.leaf->not_after() <= world_.clock.now() ||
             one.token.expires_at <= world_.clock.now();
    });
    for (const Issued* one : {&issued.front(), &issued.back()}) {
      ASSERT_TRUE(world_.verify(one->svid.chain).ok()) << hour;
      ASSERT_TRUE(world_.verify(one->token.token).ok()) << hour;
    }
    authorities.insert(active());
    ASSERT_LE(world_.bundle().x509_authorities.size(), 5U) << "the bundle is pruned";
    ASSERT_LE(world_.bundle().jwt_authorities.size(), 5U) << "the bundle is pruned";
  }
  // Each is prepared at half of its predecessor's life, with ticks of an hour past it.
  EXPECT_EQ(authorities.size(), 92U * 24 / 13 + 1);
  auto journals = world_.store->list_ca_journals().take();
  ASSERT_EQ(journals.size(), 1U);
  EXPECT_LE(parse_journal(journals[0].data).take().x509_cas.size(), kJournalEntriesMax);
}

// A process that is killed after its n-th write, for every n, at each phase.
constexpr int kCrashPointsMax = 14;
class CrashTest : public KeeperTest, public testing::WithParamInterface<int> {
 protected:
  // The last crash point lies behind the end of the phase, or points are missing.
  void expect_all_points_covered() {
    if (GetParam() == kCrashPointsMax) {
      EXPECT_GT(world_.budget.left, 0);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(AfterWrites, CrashTest, testing::Range(0, kCrashPointsMax + 1));

TEST_P(CrashTest, AtTheFirstStart) {
  world_.budget.left = GetParam();
  static_cast<void>(world_.start().ok());
  expect_all_points_covered();
  std::optional<SignedX509> svid;
  std::optional<SignedJwt> token;
  if (world_.ca && world_.x509().ok()) {
    svid = world_.x509().take();
  }
  if (world_.ca && world_.jwt().ok()) {
    token = world_.jwt().take();
  }
  world_.budget.left = 1000;
  ASSERT_TRUE(world_.start().ok());
  expect_signs();
  EXPECT_TRUE(!svid || world_.verify(svid->chain).ok());
  EXPECT_TRUE(!token || world_.verify(token->token).ok());
}

TEST_P(CrashTest, WhilePreparing) {
  ASSERT_TRUE(world_.start().ok());
  const std::string x509 = active();
  const std::string jwt = active_jwt();
  world_.clock.advance(hours(13));
  world_.budget.left = GetParam();
  static_cast<void>(world_.keeper->tick().ok());
  expect_all_points_covered();
  EXPECT_EQ(active(), x509) << "a failing rotation keeps the valid authority";
  world_.budget.left = 1000;
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(active(), x509);
  EXPECT_EQ(active_jwt(), jwt);
  EXPECT_TRUE(world_.keeper->x509_states().take().prepared);
  expect_signs();
}

TEST_P(CrashTest, WhileActivating) {
  ASSERT_TRUE(world_.start().ok());
  world_.clock.advance(hours(13));
  ASSERT_TRUE(world_.keeper->tick().ok());
  const auto before = world_.keeper->x509_states().take();
  const auto before_jwt = world_.keeper->jwt_states().take();
  world_.clock.advance(hours(8));
  world_.budget.left = GetParam();
  static_cast<void>(world_.keeper->tick().ok());
  expect_all_points_covered();
  auto svid = world_.x509().take();
  auto token = world_.jwt().take();
  world_.budget.left = 1000;
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(active(), before.prepared->authority_id);
  EXPECT_EQ(active_jwt(), before_jwt.prepared->authority_id);
  EXPECT_TRUE(world_.verify(svid.chain).ok());
  EXPECT_TRUE(world_.verify(token.token).ok());
  expect_signs();
}

TEST_F(KeeperTest, AFailingRotationKeepsTheValidAuthorityAndTurnsUnhealthy) {
  ASSERT_TRUE(world_.start().ok());
  const std::string first = active();
  world_.clock.advance(hours(21));
  world_.budget.left = 0;
  for (int i = 0; i < 11; ++i) {
    EXPECT_FALSE(world_.keeper->tick().ok());
    EXPECT_EQ(active(), first);
    EXPECT_TRUE(world_.x509().ok());
    world_.clock.advance(seconds(10));
  }
  EXPECT_TRUE(world_.log.has("Unable to rotate X509 CA"));
  EXPECT_EQ(world_.keeper->health().error().message,
            "rotations exceed the threshold number of failures");
  world_.budget.left = 1000;
  EXPECT_TRUE(world_.keeper->tick().ok());
  EXPECT_TRUE(world_.keeper->health().ok());
  EXPECT_NE(active(), first);
  expect_signs();
}

TEST_F(KeeperTest, ALongSleepEndsWithAValidAuthority) {
  ASSERT_TRUE(world_.start().ok());
  for (auto pause : {hours(23), hours(25), hours(35), hours(24 * 40)}) {
    world_.clock.advance(pause);
    ASSERT_TRUE(world_.keeper->tick().ok());
    expect_signs();
    EXPECT_GE(world_.keeper->x509_states().take().active->expires_at - world_.clock.now(),
              hours(4));
  }
}

TEST_F(KeeperTest, AServerThatWasAwayForWeeksStartsAgain) {
  ASSERT_TRUE(world_.start().ok());
  world_.stop();
  world_.clock.advance(hours(24 * 30));
  ASSERT_TRUE(world_.start().ok());
  EXPECT_TRUE(world_.log.has("X509CA slot unusable"));
  expect_signs();
  EXPECT_EQ(world_.store->list_ca_journals().take().size(), 1U) << "its row is found again";
}

TEST_F(KeeperTest, AClockThatJumpsBackLeavesNoAuthorityOfTheFuture) {
  ASSERT_TRUE(world_.start().ok());
  world_.clock.advance(hours(13));
  ASSERT_TRUE(world_.keeper->tick().ok());
  world_.clock.jump_wall(-hours(24 * 3));
  ASSERT_TRUE(world_.keeper->tick().ok());
  expect_signs();
  world_.clock.jump_wall(hours(24 * 3));
  ASSERT_TRUE(world_.keeper->tick().ok());
  expect_signs();
}

TEST_F(KeeperTest, LostKeysMeanANewCaAndOldSvidsStayTrusted) {
  ASSERT_TRUE(world_.start().ok());
  const std::string first = active();
  auto svid = world_.x509().take();
  ASSERT_TRUE(world_.keys->generate_key("x509-CA-A", crypto::KeyType::kEcP256).ok());
  ASSERT_TRUE(world_.start().ok());
  EXPECT_NE(active(), first);
  EXPECT_TRUE(world_.verify(svid.chain).ok());
  expect_signs();
}

TEST_F(KeeperTest, AnAuthorityThatLeftTheBundleIsNotUsedAgain) {
  ASSERT_TRUE(world_.start().ok());
  const std::string x509 = active();
  const std::string jwt = active_jwt();
  auto bundle = world_.bundle();
  bundle.x509_authorities.clear();
  bundle.jwt_authorities.clear();
  auto other = world_.store->set_bundle(bundle);
  ASSERT_TRUE(other.ok()) << other.error().message;
  ASSERT_TRUE(world_.start().ok());
  EXPECT_NE(active(), x509);
  EXPECT_NE(active_jwt(), jwt);
  expect_signs();
}

TEST_F(KeeperTest, RefusesTheDatabaseOfAnotherTrustDomain) {
  ASSERT_TRUE(world_.start().ok());
  Entry entry{.spiffe_id = spiffe::SpiffeId::parse("spiffe://other.org/a").take(),
              .parent_id = spiffe::SpiffeId::parse("spiffe://other.org/b").take()};
  entry.selectors = {{"unix", "uid:1"}};
  auto created = world_.store->create_entries({entry});
  ASSERT_TRUE(created.ok());
  auto refused = world_.start();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "a registration entry with trust domain 'other.org' has been detected, which does not "
            "match the configured trust domain of 'example.org'. If you want to change the trust "
            "domain, please delete all existing registration entries");
}

TEST(KeeperOptions, NoJwtKeysWhenDisabled) {
  CaWorld world({.trust_domain = CaWorld::domain()}, {.disable_jwt_svids = true});
  ASSERT_TRUE(world.start().ok());
  EXPECT_TRUE(world.bundle().jwt_authorities.empty());
  EXPECT_EQ(world.jwt().error().message, "JWT key is not available for signing");
  EXPECT_EQ(world.keeper->prepare_jwt().error().code, Code::kUnimplemented);
  EXPECT_EQ(world.keeper->jwt_states().error().message, "JWT functionality is disabled");
}

TEST(KeeperOptions, KeyTypesAreTheConfigured) {
  CaWorld world({.trust_domain = CaWorld::domain()}, {.ca_key_type = crypto::KeyType::kEcP384,
                                                      .jwt_key_type = crypto::KeyType::kRsa2048});
  ASSERT_TRUE(world.start().ok());
  EXPECT_EQ(world.keys->get_key("x509-CA-A").take()->key_type(), crypto::KeyType::kEcP384);
  EXPECT_EQ(world.keys->get_key("JWT-Signer-A").take()->key_type(), crypto::KeyType::kRsa2048);
  EXPECT_TRUE(world.verify(world.x509().take().chain).ok());
  EXPECT_TRUE(world.verify(world.jwt().take().token).ok());
}

TEST_F(KeeperTest, ForcedRotationGoesPrepareActivateTaintRevoke) {
  ASSERT_TRUE(world_.start().ok());
  const std::string first = active();
  EXPECT_EQ(world_.keeper->activate_x509("").error().message, "no authority ID provided");
  EXPECT_EQ(world_.keeper->activate_x509("00").error().message, "unexpected authority ID");
  EXPECT_EQ(world_.keeper->taint_x509(first).error().message,
            "unable to taint current local authority");
  auto prepared = world_.keeper->prepare_x509();
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(world_.keeper->taint_x509(prepared->authority_id).error().message,
            "only Old local authorities can be tainted: unsupported local authority status: "
            "PREPARED");
  auto again = world_.keeper->prepare_x509();
  ASSERT_TRUE(again.ok());
  EXPECT_NE(again->authority_id, prepared->authority_id);
  ASSERT_TRUE(world_.keeper->activate_x509(again->authority_id).ok());
  EXPECT_EQ(active(), again->authority_id);

  auto tainted = world_.keeper->taint_x509(first);
  ASSERT_TRUE(tainted.ok()) << tainted.error().message;
  ASSERT_TRUE(world_.ca->tainted().get());
  EXPECT_EQ(hex_encode(world_.ca->tainted().get()->front()->subject_key_id()), first);
  EXPECT_TRUE(world_.log.has("X.509 authority tainted successfully"));
  EXPECT_EQ(world_.keeper->revoke_x509(active()).error().message,
            "invalid authority ID: unable to use current authority");
  ASSERT_TRUE(world_.keeper->revoke_x509(first).ok());
  for (const auto& root : world_.bundle().x509_authorities) {
    EXPECT_NE(hex_encode(x509::Certificate::parse(root.der).take()->subject_key_id()), first);
  }
  expect_signs();
}

TEST_F(KeeperTest, ForcedRotationSurvivesARestart) {
  ASSERT_TRUE(world_.start().ok());
  const std::string first = active();
  const std::string first_jwt = active_jwt();
  auto x509 = world_.keeper->prepare_x509().take();
  auto jwt = world_.keeper->prepare_jwt().take();
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(world_.keeper->x509_states().take().prepared->authority_id, x509.authority_id);
  ASSERT_TRUE(world_.keeper->activate_x509(x509.authority_id).ok());
  ASSERT_TRUE(world_.keeper->activate_jwt(jwt.authority_id).ok());
  ASSERT_TRUE(world_.start().ok());
  EXPECT_EQ(world_.keeper->x509_states().take().old->authority_id, first);
  ASSERT_TRUE(world_.keeper->taint_x509(first).ok());
  ASSERT_TRUE(world_.keeper->taint_jwt(first_jwt).ok());
  ASSERT_TRUE(world_.keeper->revoke_jwt(first_jwt).ok());
  EXPECT_EQ(world_.keeper->revoke_jwt("nobody").error().message,
            "invalid authority ID: no JWT authority found with provided authority ID");
  expect_signs();
}

}  // namespace
}  // namespace steeple::server
