// SPDX-License-Identifier: Apache-2.0

// The webhook of a whole controller: certificate, trust anchors, answers over (simulated) TLS.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/fake_world.h"
#include "lib/crypto/pem.h"
#include "lib/x509/csr.h"
#include "lib/x509/fake_authority.h"

namespace steeple::controller {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr const char* kName = "spire-controller-manager-webhook";

class WebhookTest : public ::testing::Test {
 protected:
  WebhookTest() {
    world.spire.authorities = {authority.certificate()->der()};
    world.spire.mint = [this](const Bytes& csr) -> Result<Bytes> {
      ++minted;
      if (mint_error) {
        return *mint_error;
      }
      auto request = TRY(x509::CertificateRequest::parse_and_verify(csr));
      EXPECT_THAT(request.uri_sans(),
                  ElementsAre("spiffe://example.org/spire-controller-manager-webhook"));
      names = request.dns_sans();
      auto id = TRY(spiffe::SpiffeId::parse(request.uri_sans()[0]));
      Bytes subject = TRY(x509::svid_subject({}, names));
      x509::SvidOptions options{.id = id,
                                .public_key = request.public_key(),
                                .subject = subject,
                                .serial = x509::random_serial(random),
                                .validity = x509::validity(world.clock.now(), 24h),
                                .dns_names = names};
      return authority.issuer()->issue_svid(options);
    };
  }

  static json configuration(const std::string& service) {
    json hooks = json::array();
    for (const char* name : {"vclusterspiffeid.kb.io", "vclusterfederatedtrustdomain.kb.io"}) {
      hooks.push_back(
          {{"name", name},
           {"clientConfig", {{"service", {{"name", service}, {"namespace", "spire"}}}}}});
    }
    json out = named(kName);
    out["webhooks"] = hooks;
    return out;
  }

  Replica& start() { return world.start(World::config(), {.webhook = true, .host_name = "host"}); }

  // The body of the answer, or what went wrong.
  std::string post(Replica& replica, const std::string& path, const std::string& body) {
    auto policy = std::make_shared<tls::ClientPolicy>();
    policy->alpn = {"http/1.1"};
    policy->verify_server =
        [this](const std::vector<Bytes>& chain) -> Result<std::optional<spiffe::SpiffeId>> {
      leaf = TRY(x509::Certificate::parse(chain.front()));
      return std::optional<spiffe::SpiffeId>();
    };
    std::string received, problem;
    std::unique_ptr<io::Connection> connection;
    world.network->connect(
        replica.loop, io::Endpoint::tcp("host", 9443), 5s,
        [&](Result<std::unique_ptr<io::Connection>> raw) {
          if (!raw.ok()) {
            problem = raw.error().message;
            return;
          }
          world.handshake->connect(
              replica.loop, std::move(*raw), policy, 5s,
              [&](Result<std::unique_ptr<io::Connection>> secure) {
                if (!secure.ok()) {
                  problem = secure.error().message;
                  return;
                }
                connection = std::move(*secure);
                std::string request = fmt::format(
                    "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n"
                    "Connection: close\r\n\r\n{}",
                    path, body.size(), body);
                auto sent = std::make_shared<std::size_t>(0);
                connection->on_ready([&, request, sent](bool, bool) {
                  while (*sent < request.size()) {
                    io::IoResult wrote = connection->write(std::string_view(request).substr(*sent));
                    if (wrote.status != io::IoStatus::kOk) {
                      break;
                    }
                    *sent += wrote.bytes;
                  }
                  char buffer[4096];
                  io::IoResult got{io::IoStatus::kOk};
                  while (got.status == io::IoStatus::kOk) {
                    got = connection->read(buffer);
                    received.append(buffer, got.status == io::IoStatus::kOk ? got.bytes : 0);
                  }
                  connection->interest(got.status == io::IoStatus::kWouldBlock,
                                       *sent < request.size());
                });
                connection->interest(true, true);
              });
        });
    world.scheduler.run_for(3s);
    std::size_t at = received.find("\r\n\r\n");
    return at == std::string::npos ? "error: " + problem : received.substr(at + 4);
  }

  World world;
  x509::FakeAuthority authority{"example.org", world.clock.now(), 24h * 365};
  SeededRandom random{3};
  int minted = 0;
  std::optional<Error> mint_error;
  std::vector<std::string> names;
  x509::CertificatePtr leaf;
};

std::string review(const json& spec) {
  return json{{"apiVersion", "admission.k8s.io/v1"},
              {"kind", "AdmissionReview"},
              {"request", {{"uid", "u1"}, {"operation", "CREATE"}, {"object", {{"spec", spec}}}}}}
      .dump();
}

TEST_F(WebhookTest, AnswersWithACertificateOfTheServerForItsServices) {
  world.api.put(kHooksPath, configuration("hook"));
  Replica& replica = start();
  world.settle();
  EXPECT_THAT(names, ElementsAre("hook.spire.svc"));
  std::string answer = post(replica, "/validate-spire-spiffe-io-v1alpha1-clusterspiffeid",
                            review({{"spiffeIDTemplate", "{{ .X"}}));
  json parsed = json::parse(answer, nullptr, false);
  ASSERT_TRUE(parsed.is_object()) << answer;
  EXPECT_EQ(parsed["response"]["allowed"], false);
  answer = post(replica, "/validate-spire-spiffe-io-v1alpha1-clusterfederatedtrustdomain",
                review({{"trustDomain", "a.org"},
                        {"bundleEndpointURL", "https://a.org"},
                        {"bundleEndpointProfile", {{"type", "https_web"}}}}));
  EXPECT_EQ(json::parse(answer, nullptr, false)["response"]["allowed"], true) << answer;
  EXPECT_THAT(post(replica, "/validate-spire-spiffe-io-v1alpha1-clusterspiffeid", "{"),
              HasSubstr("\n"));
}

TEST_F(WebhookTest, KeepsTheServersAuthoritiesInTheConfiguration) {
  world.api.put(kHooksPath, configuration("hook"));
  start();
  world.settle();
  auto anchors = [&] {
    json object = world.api.get(kHooksPath, "", kName);
    std::set<std::string> out;
    for (const json& hook : object["webhooks"]) {
      out.insert(base64_decode(std::string(hook["clientConfig"].value("caBundle", ""))).take());
    }
    return out;
  };
  std::string pem = crypto::pem_encode("CERTIFICATE", authority.certificate()->der());
  EXPECT_THAT(anchors(), ElementsAre(pem));
  int patches = world.api.count("PATCH", kHooksPath);
  world.scheduler.run_for(2min);
  EXPECT_EQ(world.api.count("PATCH", kHooksPath), patches);
  world.api.put(kHooksPath, configuration("hook"));  // somebody applied the manifest again
  world.settle();
  EXPECT_THAT(anchors(), ElementsAre(pem));
  x509::FakeAuthority next("example.org", world.clock.now());
  world.spire.authorities.push_back(next.certificate()->der());
  world.scheduler.run_for(kWebhookBundleInterval + 1s);
  EXPECT_THAT(anchors(),
              ElementsAre(pem + crypto::pem_encode("CERTIFICATE", next.certificate()->der())));
}

TEST_F(WebhookTest, RenewsAtHalfLifeAndKeepsTheOldOneWhenThatFails) {
  world.api.put(kHooksPath, configuration("hook"));
  Replica& replica = start();
  world.settle();
  EXPECT_EQ(minted, 1);
  world.scheduler.run_for(11h);
  EXPECT_EQ(minted, 1);
  mint_error = unavailable("not now");
  world.scheduler.run_for(90min);
  EXPECT_GT(minted, 2);
  EXPECT_LT(minted, 60);
  EXPECT_THAT(post(replica, "/validate-spire-spiffe-io-v1alpha1-clusterspiffeid",
                   review({{"spiffeIDTemplate", "spiffe://x/y"}})),
              HasSubstr("\"allowed\":true"));
  mint_error.reset();
  world.scheduler.run_for(2min);
  int before = minted;
  world.scheduler.run_for(2h);
  EXPECT_EQ(minted, before);
}

TEST_F(WebhookTest, AnotherServiceNameMintsAnew) {
  Replica& replica = start();
  world.settle();
  EXPECT_EQ(minted, 0);
  EXPECT_THAT(post(replica, "/validate-spire-spiffe-io-v1alpha1-clusterspiffeid", "{}"),
              HasSubstr("error: "));
  world.api.put(kHooksPath, configuration("hook"));
  world.settle();
  EXPECT_EQ(minted, 1);
  world.api.put(kHooksPath, configuration("other"));
  world.settle();
  EXPECT_EQ(minted, 2);
  EXPECT_THAT(names, ElementsAre("other.spire.svc"));
}

}  // namespace
}  // namespace steeple::controller
