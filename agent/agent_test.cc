// SPDX-License-Identifier: Apache-2.0

// A whole agent on simulated loops, network, disk and clock, against a server in memory and real
// gRPC clients as workloads. Time passes only as the tests say.

#define OPENSSL_SUPPRESS_DEPRECATED  // RAND_METHOD: the short way to seeded keys

#include "agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/rand.h>

#include "agent/fake_world.h"
#include "agent/nodeattestor/agent_data.h"
#include "lib/x509/certificate.h"

namespace steeple::agent {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

AgentData stored(World& world) {
  auto file = world.disk->file(std::string(kAgentDataFile));
  return file ? parse_agent_data(file->content).take() : AgentData{};
}

x509::CertificatePtr leaf_of(const ::X509SVID& svid) {
  return x509::parse_concatenated(svid.x509_svid(), 16).take().front();
}

class AgentTest : public ::testing::Test {
 protected:
  void serve(World& world) {
    world.start_agent();
    ASSERT_TRUE(world.until_serving()) << "the agent does not serve";
  }
  template <class Stream>
  static bool received(World& world, Stream& stream, std::size_t count, Duration at_most = 1min) {
    return world.until([&] { return stream->responses.size() >= count; }, at_most);
  }
  template <class Stream>
  static bool ended(World& world, Stream& stream, Duration at_most = 1min) {
    return world.until([&] { return stream->done.has_value(); }, at_most);
  }
};

TEST_F(AgentTest, AttestsSyncsAndHandsOutAnX509Svid) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  EXPECT_EQ(world.server.calls.attest, 1);
  EXPECT_TRUE(world.log.has("Node attestation was successful"));
  EXPECT_TRUE(world.log.has("Starting agent APIs"));
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  const ::X509SVIDResponse& response = stream->responses.front();
  ASSERT_EQ(response.svids_size(), 1);
  EXPECT_EQ(response.svids(0).spiffe_id(), "spiffe://example.org/web");
  EXPECT_EQ(leaf_of(response.svids(0))->uri_sans().front(), "spiffe://example.org/web");
  EXPECT_EQ(response.svids(0).bundle(), world.server.authority().certificate()->der());
  auto key = crypto::PrivateKey::from_pkcs8(response.svids(0).x509_svid_key());
  ASSERT_TRUE(key.ok());
  EXPECT_TRUE((*key)->public_key() == leaf_of(response.svids(0))->public_key());
}

TEST_F(AgentTest, AnswersAChallengeOfTheServer) {
  World world(1, {.challenge = true});
  serve(world);
  EXPECT_FALSE(stored(world).svid.empty());
}

TEST_F(AgentTest, WritesItsFilesForItsOwnEyesOnly) {
  World world;
  serve(world);
  EXPECT_EQ(world.disk->file("agent-data.json")->mode, 0600U);
  EXPECT_EQ(world.disk->file("keys.json")->mode, 0600U);
  AgentData data = stored(world);
  EXPECT_EQ(data.bundle.size(), 1U);
  EXPECT_FALSE(data.reattestable);
}

TEST_F(AgentTest, ARestartTakesUpTheStoredSvid) {
  World world;
  serve(world);
  world.crash();
  world.token = "spent";
  serve(world);
  EXPECT_EQ(world.server.calls.attest, 1);
  EXPECT_TRUE(world.log.has("SVID loaded"));
}

TEST_F(AgentTest, ASpentTokenIsTriedForAMinuteThenTheAgentEnds) {
  World world;
  world.token = "wrong";
  world.start_agent();
  ASSERT_TRUE(world.until([&] { return world.ended.has_value(); }, 3min));
  EXPECT_THAT(world.ended->error().message,
              HasSubstr("failed to attest: join token does not exist or has already been used"));
  EXPECT_GT(world.server.calls.attest, 2);
  EXPECT_TRUE(world.log.has("Failed to retrieve attestation result"));
}

TEST_F(AgentTest, AttestationWaitsForAServerThatIsNotThereYet) {
  World world;
  world.server.close();
  world.start_agent();
  world.run(20s);
  EXPECT_FALSE(world.ended);
  world.server.listen();
  EXPECT_TRUE(world.until_serving(1min));
}

TEST_F(AgentTest, AServerThatComesAfterUsIsFoundSoon) {
  World world;
  world.server.close();
  world.start_agent();
  world.run(2s);
  world.server.listen();
  EXPECT_TRUE(world.until_serving(2s));
}

TEST_F(AgentTest, ARefusalIsTriedAgainAfterTheReferencesFiveSeconds) {
  World world;
  world.token = "wrong";
  world.start_agent();
  world.run(4s);
  EXPECT_EQ(world.server.calls.attest, 1);
  world.run(2s);
  EXPECT_EQ(world.server.calls.attest, 2);
}

TEST_F(AgentTest, RenewsItsSvidAtHalfLifeIntoTheOtherSlot) {
  World world;
  serve(world);
  AgentData first = stored(world);
  world.run(26min);
  EXPECT_EQ(world.server.calls.renew, 0);
  world.run(9min);
  EXPECT_EQ(world.server.calls.renew, 1);
  EXPECT_NE(stored(world).svid, first.svid);
  EXPECT_TRUE(world.log.has("Successfully rotated agent SVID"));
  world.run(10h);
  EXPECT_GT(world.server.calls.renew, 15);
  EXPECT_FALSE(world.ended);
  world.crash();
  serve(world);
  EXPECT_EQ(world.server.calls.attest, 1);
}

TEST_F(AgentTest, ALostRenewalAnswerCostsNothing) {
  World world;
  serve(world);
  world.server.forget_renewals = true;
  world.run(40min);
  EXPECT_GT(world.server.calls.renew, 1);
  EXPECT_FALSE(world.ended);
  world.server.forget_renewals = false;
  world.run(5min);
  int renewals = world.server.calls.renew;
  world.run(10min);
  EXPECT_EQ(world.server.calls.renew, renewals) << "renewed, and at rest";
  EXPECT_FALSE(world.ended);
}

// The server forgets the old SVID at the first sight of the new one, and may then refuse a call
// that was made with the old one and waited for a worker.
TEST_F(AgentTest, ADenialOfACallMadeBeforeARenewalIsNoReasonToGiveUp) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    World world(seed, {.on_workers = true, .agent_ttl = 4min});
    serve(world);
    world.workers.set_delay(1ms, 3s);
    for (int i = 0; i < 150; ++i) {
      world.server.put_entry("e" + std::to_string(i % 5), "/w" + std::to_string(i), {"uid:1"});
      world.run(4s);
      ASSERT_FALSE(world.ended) << "seed " << seed << ": " << world.ended->error().message;
    }
    EXPECT_GE(world.server.calls.renew, 3);
    EXPECT_EQ(world.server.calls.attest, 1);
  }
}

// A renewal that timed out may be carried out late, after the one whose answer we have.
TEST_F(AgentTest, ARenewedSvidThatIsNotAcceptedIsNoReasonToGiveUp) {
  World world;
  serve(world);
  AgentData first = stored(world);
  world.server.overtake_renewals = true;
  ASSERT_TRUE(world.until([&] { return world.server.calls.renew == 1; }, 40min));
  world.server.overtake_renewals = false;
  world.server.put_entry("e1", "/web", {"uid:1"});
  world.run(1min);
  ASSERT_FALSE(world.ended);
  EXPECT_TRUE(
      world.log.has("The renewed agent SVID is not accepted; going back to the one before"));
  EXPECT_EQ(world.server.calls.renew, 2);
  EXPECT_NE(stored(world).svid, first.svid);
  world.run(10h);
  EXPECT_FALSE(world.ended);
  EXPECT_EQ(world.server.calls.attest, 1);
}

TEST_F(AgentTest, AnEntryThatGoesDuringAFetchTakesNoOtherTokenAlong) {
  World world(1, {.push = false});
  world.server.put_entry("e1", "/web", {"uid:1000"});
  world.server.put_entry("e2", "/gone", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  world.server.remove_entry("e2");  // the agent learns of it at its next poll
  auto tokens = web.jwt({"audience"});
  ASSERT_TRUE(tokens.ok()) << tokens.error().message;
  ASSERT_EQ(tokens->svids_size(), 1);
  EXPECT_EQ(tokens->svids(0).spiffe_id(), "spiffe://example.org/web");
}

TEST_F(AgentTest, AReattestableAgentAttestsAnewInsteadOfRenewing) {
  World world(1, {.reattestable = true});
  serve(world);
  world.run(2h);
  EXPECT_GE(world.server.calls.attest, 3);
  EXPECT_EQ(world.server.calls.renew, 0);
  EXPECT_TRUE(world.log.has("Successfully reattested node"));
}

TEST_F(AgentTest, ABannedAgentForgetsItsSvidAndEnds) {
  World world;
  serve(world);
  world.server.ban();
  world.server.put_entry("e1", "/web", {"uid:1000"});
  ASSERT_TRUE(world.until([&] { return world.ended.has_value(); }, 1min));
  EXPECT_FALSE(world.ended->ok());
  EXPECT_TRUE(world.log.has("Agent is banned: removing SVID and shutting down"));
  EXPECT_TRUE(stored(world).svid.empty());
}

TEST_F(AgentTest, AnEvictedAgentThatCannotAttestAgainEnds) {
  World world;
  serve(world);
  world.server.evict();
  world.server.put_entry("e1", "/web", {"uid:1000"});
  ASSERT_TRUE(world.until([&] { return world.ended.has_value(); }, 1min));
  EXPECT_TRUE(stored(world).svid.empty());
}

TEST_F(AgentTest, AnEvictedAgentThatCanAttestsAgainAndItsStreamsLiveOn) {
  World world(1, {.reattestable = true});
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.server.evict();
  world.server.put_entry("e2", "/more", {"uid:1000"});
  ASSERT_TRUE(received(world, stream, 2));
  EXPECT_EQ(stream->responses.back().svids_size(), 2);
  EXPECT_EQ(world.server.calls.attest, 2);
  EXPECT_FALSE(stream->done);
}

// --- sync ---------------------------------------------------------------------------------------

TEST_F(AgentTest, APushedEntryReachesAWaitingStreamInMilliseconds) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.run(1min);
  world.server.put_entry("e2", "/more", {"uid:1000"});
  EXPECT_TRUE(received(world, stream, 2, 100ms));
  world.server.remove_entry("e1");
  EXPECT_TRUE(received(world, stream, 3, 100ms));
  EXPECT_EQ(stream->responses.back().svids(0).spiffe_id(), "spiffe://example.org/more");
}

TEST_F(AgentTest, AnIdleAgentAsksAlmostNothing) {
  World world;
  serve(world);
  world.run(10s);
  int before = world.server.calls.sync;
  world.run(1h);
  EXPECT_LE(world.server.calls.sync - before, 20);
  EXPECT_GE(world.server.calls.sync - before, 8) << "the safety sync";
}

TEST_F(AgentTest, AServerWithoutPushIsPolled) {
  World world(1, {.push = false});
  serve(world);
  Workload web(world, 100, 1000);
  world.server.put_entry("e1", "/web", {"uid:1000"});
  world.run(6s);
  auto stream = web.x509();
  EXPECT_TRUE(received(world, stream, 1, 1s));
  int before = world.server.calls.sync;
  world.run(1min);
  EXPECT_NEAR(world.server.calls.sync - before, 12, 2);
}

TEST_F(AgentTest, AServerWithoutTheSyncRpcGivesAllEntries) {
  World world(1, {.sync_rpc = false, .post_status = false});
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  EXPECT_TRUE(received(world, stream, 1));
  EXPECT_GT(world.server.calls.get_entries, 0);
}

TEST_F(AgentTest, ManyEntriesAreSyncedByRevisionAndOnlyOnce) {
  World world(1, {.page = 50});
  for (int i = 0; i < 230; ++i) {
    world.server.put_entry("e" + std::to_string(i), "/w" + std::to_string(i),
                           {"uid:" + std::to_string(i)});
  }
  serve(world);
  EXPECT_EQ(world.server.calls.full_entries, 230U);
  world.run(10s);
  std::size_t before = world.server.calls.full_entries;
  EXPECT_EQ(before, 230U) << "later syncs transfer nothing that is known";
  world.server.put_entry("e7", "/other", {"uid:7"});
  world.run(5s);
  EXPECT_EQ(world.server.calls.full_entries, before + 1);
  Workload seven(world, 100, 7);
  auto stream = seven.x509();
  ASSERT_TRUE(received(world, stream, 1));
  EXPECT_EQ(stream->responses[0].svids(0).spiffe_id(), "spiffe://example.org/other");
}

TEST_F(AgentTest, SvidsAreRequestedInBatchesThatShrinkOnFailure) {
  World world;
  for (int i = 0; i < 900; ++i) {
    world.server.put_entry("e" + std::to_string(i), "/w" + std::to_string(i), {"uid:1"});
  }
  world.server.svid_error = unavailable("busy");
  serve(world);
  world.run(5s);
  EXPECT_EQ(world.server.calls.svids, 0U);
  EXPECT_GT(world.server.calls.batch, 2);
  world.server.calls.batch_largest = 0;
  world.server.svid_error.reset();
  ASSERT_TRUE(world.until([&] { return world.server.calls.batch_largest > 0; }, 1min));
  EXPECT_LT(world.server.calls.batch_largest, 200U);
  world.run(5min);
  EXPECT_EQ(world.server.calls.svids, 900U);
  EXPECT_LE(world.server.calls.batch_largest, 500U);
}

TEST_F(AgentTest, AnOutageTakesNoIdentityAwayAndTheAgentComesBackByItself) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.server.close();
  world.run(20min);
  EXPECT_FALSE(stream->done);
  auto fresh = web.x509();
  EXPECT_TRUE(received(world, fresh, 1, 1s)) << "new streams are served from the cache";
  world.server.listen();
  world.server.put_entry("e2", "/more", {"uid:1000"});
  EXPECT_TRUE(received(world, stream, 2, 1min));
  EXPECT_EQ(stream->responses.back().svids_size(), 2);
  EXPECT_EQ(world.server.calls.attest, 1);
}

TEST_F(AgentTest, AStreamIsFedBeforeItsSvidExpiresForHours) {
  World world(3, {.svid_ttl = 10min});
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  for (int minute = 0; minute < 180; ++minute) {
    world.run(1min);
    ASSERT_GT(leaf_of(stream->responses.back().svids(0))->not_after(), world.clock.now());
  }
  EXPECT_GT(stream->responses.size(), 25U);
}

TEST_F(AgentTest, FederatedBundlesComeWithTheEntryThatNamesThem) {
  World world;
  x509::FakeAuthority other("other.org", world.clock.now());
  world.server.set_federated("other.org", other);
  spire::api::types::Entry entry;
  entry.set_id("e1");
  entry.mutable_spiffe_id()->set_trust_domain("example.org");
  entry.mutable_spiffe_id()->set_path("/web");
  entry.add_federates_with("other.org");
  entry.add_federates_with("missing.org");
  auto* selector = entry.add_selectors();
  selector->set_type("unix");
  selector->set_value("uid:1000");
  world.server.put_entry(entry);
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  const auto& bundles = stream->responses[0].federated_bundles();
  ASSERT_EQ(bundles.size(), 1U);
  EXPECT_EQ(bundles.at("spiffe://other.org"), other.certificate()->der());
  x509::FakeAuthority newer("other.org", world.clock.now());
  world.server.set_federated("other.org", newer);
  ASSERT_TRUE(received(world, stream, 2, 1s));
  EXPECT_EQ(stream->responses[1].federated_bundles().at("spiffe://other.org"),
            newer.certificate()->der());
}

TEST_F(AgentTest, ATaintedAuthorityIsReplacedEverywhereWithoutEndingAStream) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.server.rotate_ca();
  ASSERT_TRUE(received(world, stream, 2, 1s)) << "the new root";
  world.server.taint_old_ca();
  ASSERT_TRUE(received(world, stream, 3, 1s));
  EXPECT_EQ(leaf_of(stream->responses.back().svids(0))->authority_key_id(),
            world.server.authority().certificate()->subject_key_id());
  EXPECT_TRUE(world.log.has("New tainted X.509 authorities found"));
  EXPECT_TRUE(world.log.has("Agent SVID is tainted by a root authority, forcing rotation"));
  world.run(1s);
  EXPECT_EQ(world.server.calls.renew, 1);
  EXPECT_FALSE(stream->done);
}

TEST_F(AgentTest, APartitionThatNobodyAnnouncesIsNoticedAndSurvived) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.wires.cut("node", "server");
  world.server.put_entry("e2", "/more", {"uid:1000"});
  world.run(10min);
  EXPECT_FALSE(stream->done);
  EXPECT_FALSE(world.ended);
  world.wires.heal("node", "server");
  ASSERT_TRUE(received(world, stream, 2, 2min));
  EXPECT_EQ(stream->responses.back().svids_size(), 2);
}

TEST_F(AgentTest, ClocksThatJumpTakeNoIdentityAway) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  for (auto jump : {40min, -30min, 25min, -45min}) {
    world.clock.jump_wall(jump);
    world.run(3min);
    ASSERT_FALSE(world.ended) << world.ended->error().message;
    ASSERT_FALSE(stream->done);
    ASSERT_GT(leaf_of(stream->responses.back().svids(0))->not_after(), world.clock.now());
  }
  EXPECT_EQ(world.server.calls.attest, 1);
}

// --- the Workload API ---------------------------------------------------------------------------

TEST_F(AgentTest, ACallWithoutTheSecurityHeaderIsRefused) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.open<::X509SVIDResponse>("FetchX509SVID", false);
  ASSERT_TRUE(ended(world, stream));
  EXPECT_EQ(stream->done->error().code, Code::kInvalidArgument);
  EXPECT_EQ(stream->done->error().message, "security header missing from request");
}

TEST_F(AgentTest, AStrangerGetsPermissionDenied) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload stranger(world, 100, 2000);
  for (const char* method : {"FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"}) {
    auto stream = stranger.open<::X509SVIDResponse>(method);
    ASSERT_TRUE(ended(world, stream));
    EXPECT_EQ(stream->done->error().code, Code::kPermissionDenied) << method;
    EXPECT_EQ(stream->done->error().message, "no identity issued");
  }
  EXPECT_EQ(stranger.jwt({"a"}).error().code, Code::kPermissionDenied);
}

TEST_F(AgentTest, AStreamEndsWithPermissionDeniedWhenTheEntitlementGoes) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.server.remove_entry("e1");
  ASSERT_TRUE(ended(world, stream, 100ms));
  EXPECT_EQ(stream->done->error().code, Code::kPermissionDenied);
}

TEST_F(AgentTest, UnregisteredVerifiersMayHaveBundlesWhenAllowed) {
  World world;
  world.config.allow_unauthenticated_verifiers = true;
  serve(world);
  Workload verifier(world, 100, 2000);
  auto x509 = verifier.open<::X509BundlesResponse>("FetchX509Bundles");
  auto jwt = verifier.open<::JWTBundlesResponse>("FetchJWTBundles");
  ASSERT_TRUE(received(world, x509, 1));
  ASSERT_TRUE(received(world, jwt, 1));
  EXPECT_EQ(x509->responses[0].bundles().at("spiffe://example.org"),
            world.server.authority().certificate()->der());
  EXPECT_THAT(jwt->responses[0].bundles().at("spiffe://example.org"), HasSubstr("jwt-0"));
  world.server.rotate_jwt_key();
  ASSERT_TRUE(received(world, jwt, 2, 1s));
  world.run(10s);
  EXPECT_EQ(x509->responses.size(), 1U) << "nothing changed for X.509";
}

TEST_F(AgentTest, NoUpdateIsPushedToAProcessThatHasExited) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.procs.exit(100);
  world.procs.start(100, {.uid = 1000, .gid = 1});  // the pid is somebody else's now
  world.server.put_entry("e2", "/more", {"uid:1000"});
  ASSERT_TRUE(ended(world, stream));
  EXPECT_EQ(stream->done->error().code, Code::kUnavailable);
  EXPECT_EQ(stream->responses.size(), 1U);
}

TEST_F(AgentTest, ThousandsOfCancelledFetchesLeaveNothingBehind) {
  World world(1, {.push = false});
  world.config.x509_cache_max = 1;
  world.server.put_entry("e1", "/a", {"uid:1"});
  world.server.put_entry("e2", "/web", {"uid:1000"});
  serve(world);
  world.run(1s);
  world.server.svid_error = unavailable("busy");  // so that every one of them waits
  Workload web(world, 100, 1000);
  for (int round = 0; round < 40; ++round) {
    std::vector<decltype(web.x509())> streams;
    streams.reserve(50);
    for (int i = 0; i < 50; ++i) {
      streams.push_back(web.x509());
    }
    world.run(20ms);  // they arrive, are attested and wait
  }
  world.server.svid_error.reset();
  auto stream = web.x509();
  EXPECT_TRUE(received(world, stream, 1, 10s));
}

TEST_F(AgentTest, CancelledFetchesCostNoAttestationOnWorkers) {
  World world;
  world.attest_on_loop = false;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  world.run(1s);
  int liveness = 0, reads = 0;
  world.procs.before_read([&](const std::string& name) { ++(name == "stat" ? liveness : reads); });
  world.workers.set_delay(100ms, 100ms);  // a large executable is being hashed
  Workload greedy(world, 100, 1000), modest(world, 101, 1000);
  for (int round = 0; round < 40; ++round) {
    std::vector<decltype(greedy.x509())> streams;
    streams.reserve(50);
    for (int i = 0; i < 50; ++i) {
      streams.push_back(greedy.x509());
    }
    world.run(20ms);
  }
  auto other = modest.x509();
  auto own = greedy.x509();
  EXPECT_TRUE(received(world, other, 1, 400ms));
  EXPECT_TRUE(received(world, own, 1, 400ms));
  // Each call checks that its caller lives, which reads both files; attestation reads one more. A
  // few calls are cancelled on their way already.
  EXPECT_GT(liveness, 1900);
  EXPECT_LT(reads - liveness, 50) << "2000 were asked for";
}

TEST_F(AgentTest, AnEntryForAContainerReachesStreamsThatWereAttestedWithoutIt) {
  World world;
  world.late = std::make_shared<LateSelectors>();
  world.attest_on_loop = false;
  world.server.put_entry("pod", "/pod", {"k8s/pod-name:p"});
  serve(world);
  EXPECT_FALSE(world.late->wanted);
  Workload web(world, 100, 1000);
  auto stream = web.x509();
  ASSERT_TRUE(received(world, stream, 1));
  world.server.put_entry("container", "/container", {"k8s/container-name:c"});
  ASSERT_TRUE(received(world, stream, 2, 1s));
  EXPECT_TRUE(world.late->wanted);
  EXPECT_EQ(stream->responses.back().svids_size(), 2);
  world.server.remove_entry("container");
  ASSERT_TRUE(received(world, stream, 3, 1s));
  EXPECT_EQ(stream->responses.back().svids_size(), 1);
  EXPECT_FALSE(world.late->wanted);
  EXPECT_FALSE(stream->done);
}

TEST_F(AgentTest, WitRpcsAreUnimplementedAndUnknownServicesToo) {
  World world;
  serve(world);
  Workload web(world, 100, 1000);
  for (const char* method :
       {"/SpiffeWorkloadAPI/FetchWITSVID", "/SpiffeWorkloadAPI/FetchWITBundles",
        "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"}) {
    EXPECT_EQ(web.call(method, {}).error().code, Code::kUnimplemented) << method;
  }
}

TEST_F(AgentTest, RateLimitsHoldForEachSetOfSelectors) {
  World world;
  world.config.rate_limits.fetch_jwt_svid = 2;
  world.server.put_entry("e1", "/web", {"gid:1"});
  serve(world);
  Workload web(world, 100, 1000), other(world, 101, 1001);
  EXPECT_TRUE(web.jwt({"a"}).ok());
  EXPECT_TRUE(web.jwt({"a"}).ok());
  auto third = web.jwt({"a"});
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().message, "rate limit exceeded for /SpiffeWorkloadAPI/FetchJWTSVID");
  EXPECT_TRUE(other.jwt({"a"}).ok());
  world.run(1s);
  EXPECT_TRUE(web.jwt({"a"}).ok());
}

// --- JWT-SVIDs ----------------------------------------------------------------------------------

TEST_F(AgentTest, JwtSvidsAreCachedWhateverTheOrderOfAudiences) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto first = web.jwt({"a", "b"}).take();
  auto second = web.jwt({"b", "a"}).take();
  EXPECT_EQ(first.svids(0).svid(), second.svids(0).svid());
  EXPECT_EQ(world.server.calls.jwt, 1);
  (void)web.jwt({"a"}).take();
  EXPECT_EQ(world.server.calls.jwt, 2);
}

TEST_F(AgentTest, AJwtSvidIsRefreshedPastItsHalfLife) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto first = web.jwt({"a"}).take();
  world.run(2min);
  EXPECT_EQ(web.jwt({"a"}).take().svids(0).svid(), first.svids(0).svid());
  world.run(1min);
  EXPECT_NE(web.jwt({"a"}).take().svids(0).svid(), first.svids(0).svid());
}

TEST_F(AgentTest, WhenTheServerIsAwayACachedTokenThatLivesIsTheAnswer) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto first = web.jwt({"a"}).take();
  world.server.close();
  world.run(4min);
  EXPECT_EQ(web.jwt({"a"}).take().svids(0).svid(), first.svids(0).svid());
  EXPECT_TRUE(world.log.has("Unable to renew JWT; returning cached copy"));
  world.run(2min);
  auto expired = web.jwt({"a"});
  ASSERT_FALSE(expired.ok());
  EXPECT_EQ(expired.error().code, Code::kUnavailable);
  EXPECT_THAT(expired.error().message, HasSubstr("could not fetch JWT-SVID: "));
}

TEST_F(AgentTest, ArgumentsOfJwtCallsAreChecked) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  EXPECT_EQ(web.jwt({}).error().message, "audience must be specified");
  EXPECT_THAT(web.jwt({"a"}, "http://x").error().message,
              HasSubstr("invalid requested SPIFFE ID: "));
  EXPECT_EQ(web.jwt({"a"}, "spiffe://example.org/other").error().code, Code::kPermissionDenied);
  ::ValidateJWTSVIDRequest request;
  EXPECT_EQ(
      web.call("/SpiffeWorkloadAPI/ValidateJWTSVID", request.SerializeAsString()).error().message,
      "audience must be specified");
  request.set_audience("a");
  EXPECT_EQ(
      web.call("/SpiffeWorkloadAPI/ValidateJWTSVID", request.SerializeAsString()).error().message,
      "svid must be specified");
}

TEST_F(AgentTest, ATokenIsValidForItsAudienceOnly) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  ::ValidateJWTSVIDRequest request;
  request.set_svid(web.jwt({"a"}).take().svids(0).svid());
  request.set_audience("a");
  ::ValidateJWTSVIDResponse response;
  ASSERT_TRUE(response.ParseFromString(
      web.call("/SpiffeWorkloadAPI/ValidateJWTSVID", request.SerializeAsString()).take()));
  EXPECT_EQ(response.spiffe_id(), "spiffe://example.org/web");
  EXPECT_EQ(response.claims().fields().at("aud").list_value().values(0).string_value(), "a");
  request.set_audience("b");
  EXPECT_EQ(
      web.call("/SpiffeWorkloadAPI/ValidateJWTSVID", request.SerializeAsString()).error().code,
      Code::kInvalidArgument);
}

TEST_F(AgentTest, TokensOfATaintedKeyAreForgotten) {
  World world;
  world.server.put_entry("e1", "/web", {"uid:1000"});
  serve(world);
  Workload web(world, 100, 1000);
  auto first = web.jwt({"a"}).take();
  world.server.rotate_jwt_key();
  world.server.taint_old_jwt_key();
  world.run(1s);
  EXPECT_NE(web.jwt({"a"}).take().svids(0).svid(), first.svids(0).svid());
  EXPECT_TRUE(
      world.log.has("JWT-SVIDs were removed from the JWT cache because they were issued by a "
                    "tainted authority"));
}

// --- crashes ------------------------------------------------------------------------------------

TEST_F(AgentTest, CrashesAtRandomMomentsNeverCostTheNodeItsIdentity) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed, {.agent_ttl = 10min, .svid_ttl = 5min});
    world.server.put_entry("e1", "/web", {"uid:1000"});
    serve(world);
    SeededRandom choice(seed);
    for (int round = 0; round < 10; ++round) {
      // Around renewals, where it matters most.
      world.run(Duration(static_cast<std::int64_t>(choice.below(Duration(6min).count()))));
      ASSERT_FALSE(world.ended) << world.ended->error().message;
      world.crash();
      serve(world);
    }
    EXPECT_EQ(world.server.calls.attest, 1);
    Workload web(world, 100, 1000);
    auto stream = web.x509();
    ASSERT_TRUE(received(world, stream, 1));
  }
}

// Real keys and signatures, drawn from a seed: their lengths and so the bytes on the wire repeat.
class SeededOpenssl {
 public:
  explicit SeededOpenssl(std::uint64_t seed) {
    random().emplace(seed);
    static const RAND_METHOD method = {nullptr, fill, nullptr, nullptr, fill, status};
    CHECK(RAND_set_rand_method(&method) == 1);
  }
  ~SeededOpenssl() { RAND_set_rand_method(nullptr); }

 private:
  static std::optional<SeededRandom>& random() {
    static std::optional<SeededRandom> instance;
    return instance;
  }
  static int fill(unsigned char* into, int count) {
    random()->fill({into, static_cast<std::size_t>(count)});
    return 1;
  }
  static int status() { return 1; }
};

TEST_F(AgentTest, TheSameSeedGivesTheSameRun) {
  auto run = [](std::uint64_t seed) {
    SeededOpenssl crypto(seed);
    World world(seed);
    world.server.put_entry("e1", "/web", {"uid:1000"});
    world.start_agent();
    world.run(1h);
    return world.scheduler.fingerprint();
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST_F(AgentTest, StopsGracefullyAndTellsSo) {
  World world;
  serve(world);
  world.agent->stop();
  ASSERT_TRUE(world.until([&] { return world.ended.has_value(); }, 5s));
  EXPECT_TRUE(world.ended->ok());
}

}  // namespace
}  // namespace steeple::agent
