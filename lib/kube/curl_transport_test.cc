// SPDX-License-Identifier: Apache-2.0

// Goal: the real transport speaks HTTPS as the seam promises. Method: our own HTTP server over TLS
// on loopback, on the same loop; the watchdog only ends a test that hangs. Watches and client
// certificates are tested against the real API server in tests/kubernetes.

#include "lib/kube/curl_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "lib/http/server.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/tls/fake_pki.h"
#include "lib/tls/handshake.h"

namespace steeple::kube {
namespace {

using testing::HasSubstr;

struct Answer {
  HttpHead head;
  Bytes body;
  std::optional<Result<void>> end;
};

class CurlTransportTest : public testing::Test {
 protected:
  CurlTransportTest() {
    server_.route("", [this](const http::Request& request, http::Respond respond) {
      seen_.push_back(request.method + ' ' + request.path + '?' + request.query + ' ' +
                      std::string(request.header("x-test")) + ' ' + request.body);
      if (request.path == "/never") {
        held_.push_back(std::move(respond));
        loop_.stop();
      } else if (request.path == "/large") {
        respond({.status = 200, .content_type = "text/plain", .body = Bytes(5 << 20, 'x')});
      } else {
        respond({.status = request.path == "/gone" ? 410 : 200,
                 .content_type = "text/plain",
                 .headers = {{"X-Answer", "  spaced "}},
                 .body = "hello"});
      }
    });
    auto policy = std::make_shared<tls::ServerPolicy>();
    policy->identity = [identity = authority_.identity("/server")] { return identity; };
    policy->alpn = {"http/1.1"};
    server_.listen(network_, io::Endpoint::tcp("127.0.0.1", 0), {}, handshake_.get(), policy)
        .take();
    url_ = "https://127.0.0.1:" + std::to_string(server_.endpoints().front().port);
  }

  static std::string ca_of(const tls::FakeAuthority& authority) {
    return x509::certificate_to_pem(authority.bundle()->front()->der());
  }
  HttpRequest request(std::string path) {
    return {.url = url_ + path, .tls = std::make_shared<const TlsMaterial>(material_)};
  }
  HttpEvents into(Answer& answer) {
    return {.on_head = [&answer](const HttpHead& head) { answer.head = head; },
            .on_data = [&answer](ByteView bytes) { answer.body += bytes; },
            .on_end =
                [this, &answer](Result<void> how) {
                  answer.end = std::move(how);
                  loop_.stop();
                }};
  }
  Answer fetch(HttpRequest what) {
    Answer answer;
    auto call = transport_->start(std::move(what), into(answer));
    EXPECT_FALSE(answer.end) << "never from inside start";
    run();
    return answer;
  }
  void run() {
    io::Timer watchdog(loop_);
    watchdog.start(std::chrono::seconds(20), [this] { loop_.stop(); });
    loop_.run();
  }

  io::AsioLoop loop_;
  io::SocketNetwork network_;
  tls::FakeAuthority authority_{"example.org", system_clock()};
  std::unique_ptr<tls::Handshake> handshake_ = tls::openssl_handshake();
  http::Server server_{loop_, {.methods = {"GET", "POST", "PATCH", "DELETE"}}};
  std::vector<std::string> seen_;
  std::vector<http::Respond> held_;
  std::string url_;
  TlsMaterial material_{.ca_pem = ca_of(authority_), .verify_name = false};
  std::optional<CurlTransport> transport_{loop_};
};

TEST_F(CurlTransportTest, BringsHeadBodyAndEnd) {
  HttpRequest what = request("/a?b=c");
  what.headers.push_back({"x-test", "1"});
  Answer answer = fetch(std::move(what));
  ASSERT_TRUE(answer.end);
  ASSERT_TRUE(answer.end->ok()) << answer.end->error().message;
  EXPECT_EQ(answer.head.status, 200);
  EXPECT_EQ(answer.head.header("x-answer"), "spaced");
  EXPECT_EQ(answer.body, "hello");
  EXPECT_EQ(seen_.back(), "GET /a?b=c 1 ");
}

TEST_F(CurlTransportTest, SendsMethodsWithBodies) {
  for (const char* method : {"POST", "PATCH", "DELETE"}) {
    HttpRequest what = request("/w");
    what.method = method;
    what.body = std::string("a\0b", 3);
    ASSERT_TRUE(fetch(std::move(what)).end->ok());
    EXPECT_EQ(seen_.back(), std::string(method) + " /w?  " + std::string("a\0b", 3));
  }
}

TEST_F(CurlTransportTest, EveryStatusIsAnAnswer) {
  Answer answer = fetch(request("/gone"));
  EXPECT_TRUE(answer.end->ok());
  EXPECT_EQ(answer.head.status, 410);
}

TEST_F(CurlTransportTest, LargeBodiesArriveWhole) {
  Answer answer = fetch(request("/large"));
  ASSERT_TRUE(answer.end && answer.end->ok());
  EXPECT_EQ(answer.body.size(), std::size_t{5} << 20);
}

TEST_F(CurlTransportTest, OneConnectionServesOneAfterTheOther) {
  ASSERT_TRUE(fetch(request("/a")).end->ok());
  ASSERT_TRUE(fetch(request("/b")).end->ok());
  EXPECT_EQ(server_.connections(), 1U);
}

TEST_F(CurlTransportTest, OtherTlsMaterialIsAnotherConnection) {
  ASSERT_TRUE(fetch(request("/a")).end->ok());
  auto identity = authority_.identity("/client");
  material_.cert_pem = x509::chain_to_pem(identity->chain);
  auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  material_.key_pem = key->to_pem().reveal();
  Answer answer = fetch(request("/b"));
  EXPECT_FALSE(answer.end->ok()) << "the key is not the certificate's";
}

TEST_F(CurlTransportTest, AForeignAuthorityIsRefused) {
  tls::FakeAuthority other("example.org", system_clock());
  material_.ca_pem = ca_of(other);
  Answer answer = fetch(request("/a"));
  ASSERT_TRUE(answer.end);
  EXPECT_EQ(answer.end->error().code, Code::kUnavailable);
  EXPECT_TRUE(seen_.empty());
}

TEST_F(CurlTransportTest, AWrongNameIsRefusedUnlessToldOtherwise) {
  material_.verify_name = true;
  EXPECT_FALSE(fetch(request("/a")).end->ok());
  material_.verify_chain = false;
  EXPECT_TRUE(fetch(request("/a")).end->ok());
}

TEST_F(CurlTransportTest, TheServerNameReplacesTheHostInTheHandshakeOnly) {
  material_.server_name = "kubernetes.default.svc";
  EXPECT_TRUE(fetch(request("/a")).end->ok());
  EXPECT_EQ(seen_.size(), 1U);
}

TEST_F(CurlTransportTest, AnAnswerThatDoesNotComeEndsInTime) {
  HttpRequest what = request("/never");
  what.timeout = std::chrono::milliseconds(200);
  Answer answer;
  auto call = transport_->start(std::move(what), into(answer));
  run();  // until the server has it
  run();
  ASSERT_TRUE(answer.end);
  EXPECT_EQ(answer.end->error().code, Code::kDeadlineExceeded);
}

TEST_F(CurlTransportTest, ARefusedConnectionIsUnavailable) {
  HttpRequest what = request("/");
  what.url = "https://127.0.0.1:1/";
  Answer answer = fetch(std::move(what));
  EXPECT_EQ(answer.end->error().code, Code::kUnavailable);
}

TEST_F(CurlTransportTest, PlainHttpAndBrokenUrlsAreRefused) {
  for (const char* url : {"http://127.0.0.1/", "file:///etc/passwd", "https://a b/", ""}) {
    HttpRequest what;
    what.url = url;
    EXPECT_EQ(fetch(std::move(what)).end->error().code, Code::kInvalidArgument) << url;
  }
  HttpRequest what = request("/a");
  what.headers.push_back({"x", "a\r\ny: z"});
  EXPECT_EQ(fetch(std::move(what)).end->error().code, Code::kInvalidArgument);
}

TEST_F(CurlTransportTest, PlainHttpIsSpokenWhenAskedForAndHttpsStaysPossible) {
  http::Server plain(loop_, {});
  plain.route("", [](const http::Request&, http::Respond respond) {
    respond({.status = 200, .content_type = "text/plain", .body = "plain"});
  });
  plain.listen(network_, io::Endpoint::tcp("127.0.0.1", 0), {}, nullptr, nullptr).take();
  material_.plain_http = true;
  HttpRequest what = request("/");
  what.url = "http://127.0.0.1:" + std::to_string(plain.endpoints().front().port) + "/pods";
  EXPECT_EQ(fetch(std::move(what)).body, "plain");
  EXPECT_EQ(fetch(request("/a")).body, "hello");
}

TEST_F(CurlTransportTest, ADroppedCallIsSilentAndLeavesOthersAlone) {
  Answer dropped;
  auto call = transport_->start(request("/never"), into(dropped));
  run();
  call.reset();
  EXPECT_TRUE(fetch(request("/a")).end->ok());
  EXPECT_FALSE(dropped.end);
}

TEST_F(CurlTransportTest, ACallMayStartAnotherAndDropItselfInItsCallback) {
  Answer second;
  CallPtr first_call;
  CallPtr second_call;
  HttpEvents events = into(second);
  bool ended = false;
  first_call = transport_->start(
      request("/large"), {.on_head = [](const HttpHead&) {},
                          .on_data =
                              [&](ByteView) {
                                second_call = transport_->start(request("/a"), std::move(events));
                                first_call.reset();
                              },
                          .on_end = [&](Result<void>) { ended = true; }});
  run();
  ASSERT_TRUE(second.end);
  EXPECT_TRUE(second.end->ok());
  EXPECT_FALSE(ended);
}

TEST_F(CurlTransportTest, DestructionEndsEverythingSilently) {
  Answer answer;
  auto call = transport_->start(request("/never"), into(answer));
  run();
  transport_.reset();
  loop_.post([this] { loop_.stop(); });
  run();
  EXPECT_FALSE(answer.end);
}

}  // namespace
}  // namespace steeple::kube
