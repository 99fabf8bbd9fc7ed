// SPDX-License-Identifier: Apache-2.0

// Goal: the rules of TLS that the seam does not show: versions, ciphers, groups, tickets,
// renegotiation, key updates, alerts on the wire, memory. Method: a bare OpenSSL client, set up to
// break one rule at a time, against our server over TCP.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "lib/tls/fake_pki.h"
#include "lib/tls/fake_wire.h"
#include "lib/tls/handshake.h"
#include "lib/tls/pq_kem.h"
#include "lib/tls/spiffe_policy.h"
#include "lib/tls/tls_context.h"

namespace steeple::tls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Driven by hand, never blocks. Verifies nothing.
class BareClient {
 public:
  explicit BareClient(const std::function<void(SSL_CTX*)>& break_a_rule = {}) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    static constexpr unsigned char kH2[] = {2, 'h', '2'};
    SSL_CTX_set_alpn_protos(context_.get(), kH2, sizeof kH2);
    SSL_CTX_set_session_cache_mode(context_.get(),
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(context_.get(), this);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION*) {
      auto* self = static_cast<BareClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      ++self->tickets;
      return 0;
    });
    if (break_a_rule) {
      break_a_rule(context_.get());
    }
  }
  // `extra`: how often to repeat the certificate in the chain.
  void use(const Identity& identity, int extra = 0) {
    const auto* at = reinterpret_cast<const unsigned char*>(identity.chain.front().data());
    SslPtr<X509> leaf(d2i_X509(nullptr, &at, static_cast<long>(identity.chain.front().size())));
    CHECK(SSL_CTX_use_certificate(context_.get(), leaf.get()) == 1 &&
          SSL_CTX_use_PrivateKey(context_.get(), identity.key->evp()) == 1);
    for (int i = 0; i < extra; ++i) {
      CHECK(SSL_CTX_add1_chain_cert(context_.get(), leaf.get()) == 1);
    }
  }
  // Frees everything but the socket.
  void forget() { ssl_.reset(); }
  void connect(io::FileDescriptor socket, SSL_SESSION* resume = nullptr) {
    ssl_.reset(SSL_new(context_.get()));
    socket_ = std::move(socket);
    SSL_set_fd(ssl_.get(), socket_.get());
    SSL_set_connect_state(ssl_.get());
    if (resume != nullptr) {
      SSL_set_session(ssl_.get(), resume);
    }
    open = failed = false;
    received.clear();
  }
  // One turn: handshake, then read.
  void turn() {
    if (failed || !ssl_) {
      return;
    }
    ERR_clear_error();
    if (!open) {
      int result = SSL_do_handshake(ssl_.get());
      open = result == 1;
      note(result);
      return;
    }
    std::array<char, 4096> buffer;
    int got = SSL_read(ssl_.get(), buffer.data(), buffer.size());
    if (got > 0) {
      received.append(buffer.data(), static_cast<std::size_t>(got));
    }
    note(got);
  }
  void send(ByteView bytes) {
    CHECK(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
          static_cast<int>(bytes.size()));
  }
  SSL* ssl() { return ssl_.get(); }

  bool open = false;
  bool failed = false;
  std::string error;
  Bytes received;
  int tickets = 0;

 private:
  void note(int result) {
    int kind = SSL_get_error(ssl_.get(), result);
    if (result > 0 || kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
      return;
    }
    failed = true;
    error = kind == SSL_ERROR_SYSCALL ? errno_text(errno) : take_ssl_error();
  }

  SslPtr<SSL_CTX> context_;
  io::FileDescriptor socket_;
  SslPtr<SSL> ssl_;
};

class OpensslHandshake : public testing::Test {
 protected:
  void SetUp() override {
    bundles_->publish(BundleSet{{authority_.domain(), authority_.bundle()}});
    policy_->identity = [this] {
      ++identity_asked_;
      return identity_;
    };
    policy_->verify_client =
        verify_member_or_admin(authority_.domain(), {}, authorities_from(bundles_), clock_);
  }
  void start(BareClient& client, SSL_SESSION* resume = nullptr) {
    auto [theirs, ours] = tcp_pair();
    outcome_.reset();
    server_.reset();
    handshake_->accept(wire_.loop(), wire_.wrap(std::move(ours), "192.0.2.1:5000"), policy_, 10s,
                       [this](auto result) { outcome_.emplace(std::move(result)); });
    client.connect(std::move(theirs), resume);
  }
  void open(BareClient& client, SSL_SESSION* resume = nullptr) {
    start(client, resume);
    ASSERT_TRUE(wire_.until([&] { return outcome_ && client.open; }, [&] { client.turn(); }))
        << client.error;
    ASSERT_TRUE(outcome_->ok()) << outcome_->error().message;
    server_.emplace(std::move(*outcome_).take());
  }
  // What the client hears, on the wire.
  std::string refused(BareClient& client) {
    start(client);
    EXPECT_TRUE(wire_.until([&] { return outcome_ && client.failed; }, [&] { client.turn(); }));
    EXPECT_FALSE(outcome_->ok());
    return client.error;
  }
  bool echo(BareClient& client) {
    server_->send("pong");
    client.send("ping");
    return wire_.until(
        [&] { return server_->received().ends_with("ping") && client.received.ends_with("pong"); },
        [&] { client.turn(); });
  }

  FakeClock clock_;
  FakeWire wire_;
  FakeAuthority authority_{"example.org", clock_};
  std::shared_ptr<Watch<BundleSet>> bundles_ = std::make_shared<Watch<BundleSet>>();
  std::shared_ptr<const Identity> identity_ = authority_.identity("/spire/server");
  std::shared_ptr<ServerPolicy> policy_ = std::make_shared<ServerPolicy>();
  std::unique_ptr<Handshake> handshake_ = openssl_handshake();
  std::optional<Result<std::unique_ptr<io::Connection>>> outcome_;
  std::optional<FakeEndpoint> server_;
  int identity_asked_ = 0;
};

std::function<void(SSL_CTX*)> only_version(int version) {
  return [version](SSL_CTX* context) {
    SSL_CTX_set_security_level(context, 0);  // else OpenSSL itself refuses TLS 1.1
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
  };
}

TEST_F(OpensslHandshake, ServesTls12And13WithAndWithoutClientCertificate) {
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (bool certified : {false, true}) {
      BareClient client(only_version(version));
      if (certified) {
        client.use(*authority_.identity("/spire/agent/one"));
      }
      open(client);
      EXPECT_EQ(SSL_version(client.ssl()), version);
      EXPECT_EQ(server_->connection().peer()->spiffe_id.has_value(), certified);
      EXPECT_TRUE(echo(client));
    }
  }
}

TEST_F(OpensslHandshake, RefusesTls11WithTheRightAlert) {
  BareClient client(only_version(TLS1_1_VERSION));
  EXPECT_EQ(refused(client), "remote error: tls: protocol version not supported");
}

TEST_F(OpensslHandshake, RefusesTls12WithoutForwardSecrecyOrAuthenticatedEncryption) {
  for (const char* cipher :
       {"ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256"}) {
    BareClient client([cipher](SSL_CTX* context) {
      SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
      CHECK(SSL_CTX_set_cipher_list(context, cipher) == 1);
    });
    EXPECT_EQ(refused(client), "remote error: tls: handshake failure") << cipher;
  }
}

TEST_F(OpensslHandshake, AlertsReachTheClientInBothVersions) {
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    BareClient expired(only_version(version));
    expired.use(*authority_.identity("/spire/agent/one", -1s));
    EXPECT_EQ(refused(expired), "remote error: tls: expired certificate");
    BareClient unknown(only_version(version));
    unknown.use(*FakeAuthority("example.org", clock_).identity("/spire/agent/one"));
    EXPECT_EQ(refused(unknown), "remote error: tls: unknown certificate authority");
    BareClient foreign(only_version(version));
    FakeAuthority other("other.org", clock_);
    foreign.use(*other.identity("/x"));
    EXPECT_EQ(refused(foreign), "remote error: tls: unknown certificate authority");
  }
}

TEST_F(OpensslHandshake, AnAlertIsNotLostToAResetWhenTheClientKeepsTalking) {
  // In TLS 1.3 the client may send data before it learns that it was refused. Were the socket
  // closed with that unread, the kernel would answer with a reset, and the client's next write
  // would fail before it reads the alert.
  BareClient client(only_version(TLS1_3_VERSION));
  client.use(*authority_.identity("/spire/agent/one", -1s));
  start(client);
  ASSERT_TRUE(wire_.until([&] { return client.open; }, [&] { client.turn(); }));
  ASSERT_FALSE(outcome_);
  client.send(Bytes(60'000, 'x'));  // more than OpenSSL reads ahead
  ASSERT_TRUE(wire_.until([&] { return outcome_.has_value(); }));
  int turns = 0;  // whatever the refusal posted has run after these
  ASSERT_TRUE(wire_.until([&] { return ++turns >= 10; }));
  client.send("more");  // CHECKs that it succeeds
  ASSERT_TRUE(wire_.until([&] { return client.failed; }, [&] { client.turn(); }));
  EXPECT_EQ(client.error, "remote error: tls: expired certificate");
}

TEST_F(OpensslHandshake, TheGroupsAreX25519P256AndP384) {
  // The last one sends a key share that we do not take, so it is asked to send another.
  for (const char* group : {"X25519", "P-256", "P-384", "P-521:X25519"}) {
    BareClient client(
        [group](SSL_CTX* context) { CHECK(SSL_CTX_set1_groups_list(context, group) == 1); });
    open(client);
    EXPECT_TRUE(echo(client)) << group;
  }
  BareClient client(
      [](SSL_CTX* context) { CHECK(SSL_CTX_set1_groups_list(context, "P-521") == 1); });
  EXPECT_EQ(refused(client), "remote error: tls: handshake failure");
}

TEST_F(OpensslHandshake, GivesNoTicketsAndResumesNothing) {
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    BareClient client(only_version(version));
    client.use(*authority_.identity("/spire/agent/one"));
    open(client);
    EXPECT_TRUE(echo(client));
    if (version == TLS1_3_VERSION) {
      EXPECT_EQ(client.tickets, 0);
    }
    SSL_SESSION* session = SSL_get1_session(client.ssl());
    EXPECT_EQ(SSL_SESSION_has_ticket(session), 0);
    open(client, session);
    EXPECT_EQ(SSL_session_reused(client.ssl()), 0);
    EXPECT_TRUE(server_->connection().peer()->spiffe_id.has_value()) << "verified again";
    SSL_SESSION_free(session);
  }
}

TEST_F(OpensslHandshake, RefusesRenegotiation) {
  BareClient client(only_version(TLS1_2_VERSION));
  open(client);
  EXPECT_TRUE(echo(client));
  ASSERT_EQ(SSL_renegotiate(client.ssl()), 1);
  int asked = identity_asked_;
  client.open = false;  // drive it as a handshake
  EXPECT_TRUE(wire_.until([&] { return client.failed || client.open; }, [&] { client.turn(); }));
  EXPECT_TRUE(client.failed);
  EXPECT_THAT(client.error, HasSubstr("no renegotiation"));
  EXPECT_EQ(identity_asked_, asked);
}

TEST_F(OpensslHandshake, DoesNotCompress) {
  BareClient client([](SSL_CTX* context) {
    SSL_CTX_clear_options(context, SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  });
  open(client);
  EXPECT_EQ(SSL_get_current_compression(client.ssl()), nullptr);
}

TEST_F(OpensslHandshake, KeyUpdatesGoThroughInTheMiddleOfData) {
  BareClient client(only_version(TLS1_3_VERSION));
  open(client);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_TRUE(echo(client));
  }
}

TEST_F(OpensslHandshake, ATruncatedStreamIsAnErrorAndNotAnEnd) {
  BareClient client;
  open(client);
  ::shutdown(SSL_get_fd(client.ssl()), SHUT_WR);
  ASSERT_TRUE(wire_.until([&] { return server_->ended(); }));
  EXPECT_FALSE(server_->eof());
  EXPECT_THAT(server_->error(), HasSubstr("unexpected eof"));
}

TEST_F(OpensslHandshake, AForgedRecordIsAnError) {
  BareClient client;
  open(client);
  Bytes record("\x17\x03\x03\x00\x20", 5);
  record += Bytes(32, 'x');
  ASSERT_EQ(::write(SSL_get_fd(client.ssl()), record.data(), record.size()),
            static_cast<ssize_t>(record.size()));
  ASSERT_TRUE(wire_.until([&] { return server_->ended(); }, [&] { client.turn(); }));
  EXPECT_FALSE(server_->eof());
  EXPECT_EQ(client.error, "remote error: tls: bad record MAC");
}

TEST_F(OpensslHandshake, AnOversizedChainIsRefused) {
  for (int extra : {20, 200}) {  // over the count, over the bytes
    BareClient client;
    client.use(*authority_.identity("/spire/agent/one"), extra);
    EXPECT_THAT(refused(client), HasSubstr("remote error: tls: ")) << extra;
  }
}

TEST_F(OpensslHandshake, TheIdentityIsAskedForAtEachHandshakeAndTheContextIsKept) {
  ContextCache cache;
  auto first = cache.server(policy_, identity_).take();
  EXPECT_EQ(cache.server(policy_, identity_).take(), first);
  auto rotated = authority_.identity("/spire/server");
  auto second = cache.server(policy_, rotated).take();
  EXPECT_NE(second, first);
  EXPECT_EQ(cache.server(policy_, rotated).take(), second);
  EXPECT_EQ(first.use_count(), 1) << "the old key is let go";
  BareClient client;
  open(client);
  open(client);
  EXPECT_EQ(identity_asked_, 2);
}

TEST_F(OpensslHandshake, AKeyThatIsNotTheCertificatesIsRefusedBeforeAnyByte) {
  auto mixed = std::make_shared<Identity>(*identity_);
  mixed->key = authority_.identity("/x")->key;
  auto error = server_context(*policy_, *mixed).error();
  EXPECT_EQ(error.code, Code::kFailedPrecondition);
  EXPECT_THAT(error.message, HasSubstr("own identity"));
  EXPECT_FALSE(server_context(*policy_, Identity()).ok());
}

TEST_F(OpensslHandshake, APolicyThatVerifiesNothingIsRefused) {
  EXPECT_EQ(client_context(ClientPolicy(), nullptr).error().code, Code::kInvalidArgument);
  ServerPolicy policy;
  policy.require_client = true;
  EXPECT_EQ(server_context(policy, *identity_).error().code, Code::kInvalidArgument);
}

TEST_F(OpensslHandshake, AnIdleConnectionIsSmall) {
  constexpr std::size_t kConnections = 100;
  constexpr std::size_t kBytesMax = std::size_t{30} << 10;
  std::vector<std::unique_ptr<BareClient>> clients;
  std::vector<std::unique_ptr<FakeEndpoint>> servers;
  auto identity = authority_.identity("/spire/agent/one");
  std::size_t bytes = 0;
  for (std::size_t i = 0; i <= kConnections; ++i) {
    auto& client = *clients.emplace_back(std::make_unique<BareClient>());
    client.use(*identity);
    std::size_t before = mallinfo2().uordblks;
    start(client);
    ASSERT_TRUE(wire_.until([&] { return outcome_ && client.open; }, [&] { client.turn(); }));
    auto& server =
        *servers.emplace_back(std::make_unique<FakeEndpoint>(std::move(*outcome_).take()));
    client.send("ping");
    server.send("pong");
    ASSERT_TRUE(wire_.until([&] { return server.received() == "ping"; }));
    client.forget();
    outcome_.reset();
    bytes += i == 0 ? 0 : mallinfo2().uordblks - before;  // the first one warms up OpenSSL
  }
  RecordProperty("bytes_per_connection", static_cast<int>(bytes / kConnections));
  EXPECT_LT(bytes / kConnections, kBytesMax);
}

TEST(PqKem, RequiringItIsAClearConfigurationError) {
  EXPECT_TRUE(check_pq_kem(false).ok());
  auto error = check_pq_kem(true).error();
  EXPECT_EQ(error.code, Code::kFailedPrecondition);
  EXPECT_THAT(error.message, HasSubstr("require_pq_kem cannot be met: OpenSSL 3.0"));
}

}  // namespace
}  // namespace steeple::tls
