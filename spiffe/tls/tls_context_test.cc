// SPDX-License-Identifier: Apache-2.0

// Goal: two programs with these contexts talk only if each is whom the other expects, and go on
// doing so after a rotation without a new context. Method: real handshakes between two SSL objects
// over memory, sources fed by a Workload API on a real socket.

#include "spiffe/tls/tls_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <future>

#include "spiffe/workloadapi/fake_workload_api.h"

namespace spiffe {
namespace {

using namespace std::chrono_literals;
using steeple::x509::FakeAuthority;

constexpr auto kSoon = 20s;

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using Ssl = std::unique_ptr<SSL, FreeSsl>;

struct Ends {
  Ssl client, server;
  bool done = false;
};

// Runs both sides until both are done or one failed.
Ends handshake(const SslContext& client, const SslContext& server) {
  Ends ends{Ssl(SSL_new(client.get())), Ssl(SSL_new(server.get()))};
  BIO* one = nullptr;
  BIO* other = nullptr;
  BIO_new_bio_pair(&one, 0, &other, 0);
  SSL_set_bio(ends.client.get(), one, one);
  SSL_set_bio(ends.server.get(), other, other);
  auto step = [](SSL* ssl, int (*run)(SSL*)) {
    int result = run(ssl);
    int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, result);
    return error == SSL_ERROR_NONE ? 1 : error == SSL_ERROR_WANT_READ ? 0 : -1;
  };
  for (int i = 0; i < 20; ++i) {
    int c = step(ends.client.get(), SSL_connect);
    int s = step(ends.server.get(), SSL_accept);
    if (c < 0 || s < 0) {
      return ends;
    }
    if (c == 1 && s == 1) {
      ends.done = true;
      return ends;
    }
  }
  return ends;
}

class TlsContext : public testing::Test {
 protected:
  static steeple::WallTime now() { return steeple::system_clock().now(); }
  static SpiffeId id(std::string_view path) {
    return SpiffeId::parse("spiffe://example.org" + std::string(path)).take();
  }

  void publish(FakeWorkloadApi& api, FakeAuthority& authority, std::string_view path) {
    api.publish(FakeWorkloadApi::response_of(
        authority, {authority.issue(path, now())},
        {"spiffe://" + authority.domain().name() + std::string(path)}));
  }
  static std::shared_ptr<X509Source> source_of(const FakeWorkloadApi& api) {
    return X509Source::make({.client_options = {.address = api.address(), .backoff_first = 5ms},
                             .start_timeout = kSoon})
        .take();
  }

  FakeAuthority authority_{"example.org", now()};
  FakeWorkloadApi frontend_, backend_;
};

TEST_F(TlsContext, TwoWorkloadsThatExpectEachOtherTalk) {
  publish(frontend_, authority_, "/frontend");
  publish(backend_, authority_, "/backend");
  auto client = mtls_client_context(source_of(frontend_), authorize_id(id("/backend"))).take();
  auto server = mtls_server_context(source_of(backend_), authorize_id(id("/frontend"))).take();
  Ends ends = handshake(client, server);
  ASSERT_TRUE(ends.done);
  EXPECT_EQ(peer_id(ends.client.get()).value(), id("/backend"));
  EXPECT_EQ(peer_id(ends.server.get()).value(), id("/frontend"));
  EXPECT_EQ(SSL_session_reused(ends.client.get()), 0);
}

TEST_F(TlsContext, AStrangerIsRefusedByEitherSide) {
  publish(frontend_, authority_, "/stranger");
  publish(backend_, authority_, "/backend");
  auto server = mtls_server_context(source_of(backend_), authorize_id(id("/frontend"))).take();
  auto anyone = mtls_client_context(source_of(frontend_), authorize_any()).take();
  EXPECT_FALSE(handshake(anyone, server).done);
  auto open = mtls_server_context(source_of(backend_), authorize_any()).take();
  auto picky = mtls_client_context(source_of(frontend_), authorize_id(id("/other"))).take();
  EXPECT_FALSE(handshake(picky, open).done);
  EXPECT_TRUE(handshake(anyone, open).done);
}

TEST_F(TlsContext, AnIdentityOfAnotherAuthorityIsRefused) {
  FakeAuthority impostor("example.org", now());
  publish(frontend_, impostor, "/frontend");
  publish(backend_, authority_, "/backend");
  auto client = mtls_client_context(source_of(frontend_), authorize_any()).take();
  auto server = mtls_server_context(source_of(backend_), authorize_any()).take();
  EXPECT_FALSE(handshake(client, server).done);
}

TEST_F(TlsContext, AClientWithoutCertificateIsRefusedUnlessTheServerAsksForNone) {
  publish(frontend_, authority_, "/frontend");
  publish(backend_, authority_, "/backend");
  auto anonymous = tls_client_context(source_of(frontend_), authorize_id(id("/backend"))).take();
  auto mutual = mtls_server_context(source_of(backend_), authorize_any()).take();
  EXPECT_FALSE(handshake(anonymous, mutual).done);
  auto one_way = tls_server_context(source_of(backend_)).take();
  Ends ends = handshake(anonymous, one_way);
  ASSERT_TRUE(ends.done);
  EXPECT_FALSE(peer_id(ends.server.get()).ok());
}

TEST_F(TlsContext, TheSameContextPresentsTheRotatedIdentity) {
  publish(frontend_, authority_, "/frontend");
  publish(backend_, authority_, "/old");
  auto source = source_of(backend_);
  auto client = mtls_client_context(source_of(frontend_), authorize_any()).take();
  auto server = mtls_server_context(source, authorize_any()).take();
  EXPECT_EQ(peer_id(handshake(client, server).client.get()).value(), id("/old"));
  std::promise<void> rotated;
  auto subscription = source->updates().subscribe([&rotated](const auto&) { rotated.set_value(); });
  publish(backend_, authority_, "/new");
  ASSERT_EQ(rotated.get_future().wait_for(kSoon), std::future_status::ready);
  EXPECT_EQ(peer_id(handshake(client, server).client.get()).value(), id("/new"));
}

TEST(Authorizers, EachAllowsWhatItNames) {
  auto web = SpiffeId::parse("spiffe://example.org/web").take();
  auto other = SpiffeId::parse("spiffe://other.org/web").take();
  EXPECT_TRUE(authorize_any()(other).ok());
  EXPECT_TRUE(authorize_one_of({web, other})(other).ok());
  EXPECT_EQ(authorize_one_of({web})(other).error().message,
            "unexpected ID \"spiffe://other.org/web\"");
  EXPECT_TRUE(authorize_member_of(web.trust_domain())(web).ok());
  EXPECT_EQ(authorize_member_of(web.trust_domain())(other).error().message,
            "unexpected trust domain \"other.org\" (expected \"example.org\")");
}

}  // namespace
}  // namespace spiffe
