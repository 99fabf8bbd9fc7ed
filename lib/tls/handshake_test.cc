// SPDX-License-Identifier: Apache-2.0

// Goal: what every Handshake promises. Method: the same suite on OpenSSL and on its simulated twin,
// over real sockets, with certificates of lib/x509 and SPIFFE policies on both sides.

#include "lib/tls/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/fake_random.h"
#include "lib/tls/fake_handshake.h"
#include "lib/tls/fake_pki.h"
#include "lib/tls/fake_wire.h"
#include "lib/tls/spiffe_policy.h"

namespace steeple::tls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

using Outcome = std::optional<Result<std::unique_ptr<io::Connection>>>;

class HandshakeContract : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    handshake_ = GetParam() ? openssl_handshake() : fake_handshake();
    trust(authority_);
    server_policy_.identity = [this] { return server_identity_; };
    client_policy_.identity = [this] { return client_identity_; };
    auto authorities = authorities_from(bundles_);
    server_policy_.verify_client =
        verify_member_or_admin(authority_.domain(), {}, authorities, clock_);
    client_policy_.verify_server = verify_spire_server(authority_.domain(), authorities, clock_);
  }

  void trust(const FakeAuthority& authority) {
    BundleSet set = bundles_->get() ? *bundles_->get() : BundleSet();
    set[authority.domain()] = authority.bundle();
    bundles_->publish(std::move(set));
  }

  void start(Duration timeout = 10s) {
    server_outcome_.reset();
    client_outcome_.reset();
    auto [client, server] = wire_.pair();
    accept(std::move(server), timeout);
    handshake_->connect(wire_.loop(), std::move(client),
                        std::make_shared<const ClientPolicy>(client_policy_), timeout,
                        [this](auto result) { client_outcome_.emplace(std::move(result)); });
  }
  void accept(std::unique_ptr<io::Connection> raw, Duration timeout) {
    handshake_->accept(wire_.loop(), std::move(raw),
                       std::make_shared<const ServerPolicy>(server_policy_), timeout,
                       [this](auto result) { server_outcome_.emplace(std::move(result)); });
  }
  bool both_settled() { return server_outcome_ && client_outcome_; }

  // Both sides open, or the test fails.
  void open() {
    start();
    ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
    ASSERT_TRUE(server_outcome_->ok()) << server_outcome_->error().message;
    ASSERT_TRUE(client_outcome_->ok()) << client_outcome_->error().message;
    server_.emplace(std::move(*server_outcome_).take());
    client_.emplace(std::move(*client_outcome_).take());
  }

  // The server refuses the client; with TLS 1.3 the client may learn it at its first read only.
  std::string refused_client_hears() {
    start();
    EXPECT_TRUE(wire_.until([this] { return both_settled(); }));
    EXPECT_FALSE(server_outcome_->ok());
    if (!client_outcome_->ok()) {
      return client_outcome_->error().message;
    }
    FakeEndpoint client(std::move(*client_outcome_).take());
    EXPECT_TRUE(wire_.until([&] { return client.ended(); }));
    return client.error();
  }

  FakeClock clock_;
  FakeWire wire_;
  FakeAuthority authority_{"example.org", clock_};
  std::shared_ptr<Watch<BundleSet>> bundles_ = std::make_shared<Watch<BundleSet>>();
  std::shared_ptr<const Identity> server_identity_ = authority_.identity("/spire/server");
  std::shared_ptr<const Identity> client_identity_ = authority_.identity("/spire/agent/one");
  ServerPolicy server_policy_;
  ClientPolicy client_policy_;
  std::unique_ptr<Handshake> handshake_;
  Outcome server_outcome_, client_outcome_;
  std::optional<FakeEndpoint> server_, client_;
};

INSTANTIATE_TEST_SUITE_P(Handshakes, HandshakeContract, testing::Values(true, false),
                         [](const auto& chosen) { return chosen.param ? "OpenSsl" : "Fake"; });

TEST_P(HandshakeContract, BothSidesLearnTheVerifiedIdAndChain) {
  open();
  auto agent = server_->connection().peer();
  EXPECT_TRUE(agent->tls);
  EXPECT_EQ(agent->spiffe_id->text(), "spiffe://example.org/spire/agent/one");
  EXPECT_EQ(agent->chain, client_identity_->chain);
  EXPECT_EQ(agent->address, "192.0.2.1:5000");
  auto server = client_->connection().peer();
  EXPECT_TRUE(server->tls);
  EXPECT_EQ(server->spiffe_id->text(), "spiffe://example.org/spire/server");
  EXPECT_EQ(server->chain, server_identity_->chain);
}

TEST_P(HandshakeContract, IntermediatesTravelAndAreVerified) {
  authority_.add_intermediate();
  server_identity_ = authority_.identity("/spire/server");
  client_identity_ = authority_.identity("/spire/agent/one");
  open();
  EXPECT_EQ(server_->connection().peer()->chain.size(), 2U);
  EXPECT_EQ(client_->connection().peer()->chain, server_identity_->chain);
}

TEST_P(HandshakeContract, EveryKeyTypeServes) {
  for (auto type : {crypto::KeyType::kEcP384, crypto::KeyType::kRsa2048}) {
    server_identity_ = authority_.identity("/spire/server", 1h, type);
    client_identity_ = authority_.identity("/spire/agent/one", 1h, type);
    open();
  }
}

TEST_P(HandshakeContract, BytesFlowBothWaysAndEachSideCanEndItsOwn) {
  open();
  client_->send("question");
  ASSERT_TRUE(wire_.until([&] { return server_->received() == "question"; }));
  client_->connection().shutdown_write();
  ASSERT_TRUE(wire_.until([&] { return server_->ended(); }));
  EXPECT_TRUE(server_->eof()) << server_->error();
  server_->send("answer");
  EXPECT_TRUE(wire_.until([&] { return client_->received() == "answer"; }));
}

TEST_P(HandshakeContract, DestroyingAConnectionIsAnEndAndNotATruncation) {
  open();
  client_.reset();
  ASSERT_TRUE(wire_.until([&] { return server_->ended(); }));
  EXPECT_TRUE(server_->eof()) << server_->error();
}

TEST_P(HandshakeContract, AClientWithoutCertificateIsServedButAnonymous) {
  client_identity_ = nullptr;
  open();
  EXPECT_FALSE(server_->connection().peer()->spiffe_id.has_value());
  EXPECT_TRUE(server_->connection().peer()->chain.empty());
  EXPECT_TRUE(server_->connection().peer()->tls);
}

TEST_P(HandshakeContract, AClientIsNotAskedForItsCertificateWhenNobodyVerifiesIt) {
  server_policy_.verify_client = nullptr;
  open();
  EXPECT_FALSE(server_->connection().peer()->spiffe_id.has_value());
  EXPECT_TRUE(server_->connection().peer()->chain.empty());
}

TEST_P(HandshakeContract, AClientWithoutCertificateIsRefusedWhereOneIsRequired) {
  client_identity_ = nullptr;
  server_policy_.require_client = true;
  EXPECT_THAT(refused_client_hears(), HasSubstr("remote error: tls: certificate required"));
}

TEST_P(HandshakeContract, AnExpiredClientIsRefusedAndToldSo) {
  client_identity_ = authority_.identity("/spire/agent/one", -1s);
  EXPECT_THAT(refused_client_hears(), HasSubstr("remote error: tls: expired certificate"));
  EXPECT_EQ(x509::refusal_of(server_outcome_->error()), x509::Refusal::kExpired);
}

TEST_P(HandshakeContract, AClientOfAnUnknownAuthorityIsRefusedAndToldSo) {
  FakeAuthority rogue("example.org", clock_);
  client_identity_ = rogue.identity("/spire/agent/one");
  EXPECT_THAT(refused_client_hears(),
              HasSubstr("remote error: tls: unknown certificate authority"));
  EXPECT_EQ(x509::refusal_of(server_outcome_->error()), x509::Refusal::kUnknownAuthority);
}

TEST_P(HandshakeContract, AClientOfAForeignTrustDomainIsRefused) {
  FakeAuthority foreign("other.org", clock_);
  client_identity_ = foreign.identity("/spire/agent/one");
  EXPECT_THAT(refused_client_hears(),
              HasSubstr("remote error: tls: unknown certificate authority"));
  trust(foreign);  // federated now, but still nobody's admin
  EXPECT_THAT(refused_client_hears(), HasSubstr("remote error: tls: bad certificate"));
  EXPECT_THAT(server_outcome_->error().message, HasSubstr("unexpected trust domain in ID"));
}

TEST_P(HandshakeContract, AnExpiredServerIsRefusedAndToldSo) {
  server_identity_ = authority_.identity("/spire/server", -1s);
  start();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  EXPECT_EQ(x509::refusal_of(client_outcome_->error()), x509::Refusal::kExpired);
  EXPECT_THAT(server_outcome_->error().message,
              HasSubstr("remote error: tls: expired certificate"));
}

TEST_P(HandshakeContract, AServerOfAnUnknownAuthorityIsRefusedAndToldSo) {
  FakeAuthority rogue("example.org", clock_);
  server_identity_ = rogue.identity("/spire/server");
  start();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  EXPECT_EQ(x509::refusal_of(client_outcome_->error()), x509::Refusal::kUnknownAuthority);
  EXPECT_THAT(server_outcome_->error().message,
              HasSubstr("remote error: tls: unknown certificate authority"));
}

TEST_P(HandshakeContract, AnySvidOtherThanTheServersIsRefusedByTheAgent) {
  server_identity_ = authority_.identity("/spire/agent/one");
  start();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  EXPECT_THAT(client_outcome_->error().message, HasSubstr("unexpected ID"));
  EXPECT_THAT(server_outcome_->error().message, HasSubstr("remote error: tls: bad certificate"));
}

TEST_P(HandshakeContract, AProtocolThatTheServerDoesNotSpeakIsRefused) {
  client_policy_.alpn = {"http/1.1"};
  EXPECT_THAT(refused_client_hears(), HasSubstr("remote error: tls: no application protocol"));
  client_policy_.alpn = {};
  EXPECT_THAT(refused_client_hears(), HasSubstr("remote error: tls: no application protocol"));
}

TEST_P(HandshakeContract, AServerThatSelectsNoProtocolIsRefused) {
  server_policy_.alpn = {};
  start();
  ASSERT_TRUE(wire_.until([this] { return client_outcome_.has_value(); }));
  EXPECT_THAT(client_outcome_->error().message, HasSubstr("no application protocol"));
}

TEST_P(HandshakeContract, ASilentPeerIsCutByTheTimeout) {
  auto [client, server] = wire_.pair();
  accept(std::move(server), 20ms);
  ASSERT_TRUE(wire_.until([this] { return server_outcome_.has_value(); }));
  EXPECT_EQ(server_outcome_->error().code, Code::kDeadlineExceeded);
  EXPECT_EQ(server_outcome_->error().message, "tls: handshake timed out after 20ms");
  FakeEndpoint raw(std::move(client));
  EXPECT_TRUE(wire_.until([&] { return raw.ended(); })) << "the socket is closed, too";
}

TEST_P(HandshakeContract, AClientCutsASilentServer) {
  auto [client, server] = wire_.pair();
  handshake_->connect(wire_.loop(), std::move(client),
                      std::make_shared<const ClientPolicy>(client_policy_), 20ms,
                      [this](auto result) { client_outcome_.emplace(std::move(result)); });
  ASSERT_TRUE(wire_.until([this] { return client_outcome_.has_value(); }));
  EXPECT_EQ(client_outcome_->error().code, Code::kDeadlineExceeded);
}

TEST_P(HandshakeContract, APeerThatGoesAwayIsAnError) {
  auto [client, server] = wire_.pair();
  accept(std::move(server), 10s);
  client.reset();
  ASSERT_TRUE(wire_.until([this] { return server_outcome_.has_value(); }));
  EXPECT_EQ(server_outcome_->error().code, Code::kUnavailable);
}

TEST_P(HandshakeContract, BytesThatAreNoHandshakeAreRefused) {
  auto [client, server] = wire_.pair();
  accept(std::move(server), 10s);
  FakeEndpoint raw(std::move(client));
  raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more");
  ASSERT_TRUE(wire_.until([this] { return server_outcome_.has_value(); }));
  EXPECT_FALSE(server_outcome_->ok());
  EXPECT_TRUE(wire_.until([&] { return raw.ended(); }));
}

TEST_P(HandshakeContract, WithoutAnIdentityTheServerRefuses) {
  server_identity_ = nullptr;
  start();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  EXPECT_EQ(server_outcome_->error().code, Code::kUnavailable);
  EXPECT_FALSE(client_outcome_->ok());
}

TEST_P(HandshakeContract, ARotatedIdentityTakesEffectAtTheNextHandshakeOnly) {
  open();
  auto old_chain = server_identity_->chain;
  server_identity_ = authority_.identity("/spire/server");
  client_identity_ = authority_.identity("/spire/agent/one");

  start();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  EXPECT_EQ(client_outcome_->value()->peer()->chain, server_identity_->chain);
  EXPECT_EQ(server_outcome_->value()->peer()->chain, client_identity_->chain);

  EXPECT_EQ(client_->connection().peer()->chain, old_chain);
  client_->send("still there?");
  ASSERT_TRUE(wire_.until([&] { return server_->received() == "still there?"; }));
  server_->send("yes");
  EXPECT_TRUE(wire_.until([&] { return client_->received() == "yes"; }));
}

TEST_P(HandshakeContract, ARotatedBundleTakesEffectAtTheNextHandshake) {
  FakeAuthority next("example.org", clock_);
  server_identity_ = next.identity("/spire/server");
  client_identity_ = next.identity("/spire/agent/one");
  start();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  EXPECT_FALSE(client_outcome_->ok());
  trust(next);
  open();
}

TEST_P(HandshakeContract, MegabytesFlowBothWaysAtOncePastFullBuffers) {
  open();
  SeededRandom random(7);
  Bytes down = random.bytes(12 << 20);
  Bytes up = random.bytes((12 << 20) + 1);
  server_->pause_reading();
  client_->pause_reading();
  server_->send(down);
  client_->send(up);
  ASSERT_TRUE(wire_.until([&] { return server_->blocked() > 0 && client_->blocked() > 0; }));
  server_->resume_reading();
  client_->resume_reading();
  ASSERT_TRUE(wire_.until([&] {
    return server_->received().size() >= up.size() && client_->received().size() >= down.size();
  }));
  EXPECT_TRUE(server_->received() == up);
  EXPECT_TRUE(client_->received() == down);
}

TEST_P(HandshakeContract, BytesSentRightBehindTheHandshakeAreNotLost) {
  start();
  // The client speaks as soon as it may; the server looks only after that.
  ASSERT_TRUE(wire_.until([this] { return client_outcome_.has_value(); }));
  client_.emplace(std::move(*client_outcome_).take());
  client_->send("early");
  ASSERT_TRUE(wire_.until([this] { return server_outcome_.has_value(); }));
  server_.emplace(std::move(*server_outcome_).take());
  EXPECT_TRUE(wire_.until([&] { return server_->received() == "early"; }));
}

TEST_P(HandshakeContract, AHandshakeUnderWayGoesWithItsLoopAndItsHandlerNeverRuns) {
  auto alive = std::make_shared<int>();
  {
    FakeWire wire;
    auto [client, server] = wire.pair();
    for (auto* raw : {&client, &server}) {  // two silent servers
      handshake_->accept(wire.loop(), std::move(*raw),
                         std::make_shared<const ServerPolicy>(server_policy_), 10s,
                         [alive](auto) { ADD_FAILURE(); });
    }
    int turns = 0;
    ASSERT_TRUE(wire.until([&] { return ++turns >= 3; }));
    EXPECT_EQ(alive.use_count(), 3);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_P(HandshakeContract, TheHandshakeMayGoBeforeItsAttempts) {
  start();
  handshake_.reset();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  EXPECT_TRUE(server_outcome_->ok() && client_outcome_->ok());
}

TEST_P(HandshakeContract, AHandlerMayDestroyItsConnection) {
  open();
  auto connection = std::make_shared<std::unique_ptr<io::Connection>>();
  start();
  ASSERT_TRUE(wire_.until([this] { return both_settled(); }));
  *connection = std::move(*server_outcome_).take();
  (*connection)->on_ready([connection](bool, bool) { connection->reset(); });
  (*connection)->interest(true, false);
  FakeEndpoint client(std::move(*client_outcome_).take());
  client.send("bye");
  EXPECT_TRUE(wire_.until([&] { return *connection == nullptr && client.ended(); }));
}

}  // namespace
}  // namespace steeple::tls
