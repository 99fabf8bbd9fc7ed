// SPDX-License-Identifier: Apache-2.0

// Goal: an agent is exactly who its certificate and its key say, with the reference's ids,
// selectors and refusals. Method: real certificates; the agent's half from lib/x509pop.

#include "server/nodeattestor/x509pop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/crypto/hash.h"
#include "lib/telemetry/fake_log.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509pop/x509pop.h"
#include "server/nodeattestor/fake_device.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using testing::ElementsAre;
using testing::HasSubstr;

class X509PopAttestorTest : public testing::Test {
 protected:
  std::unique_ptr<NodeAttestor> attestor(X509PopOptions options) {
    return x509pop_attestor(
        std::move(options), domain_,
        {.clock = clock_,
         .random = random_,
         .own_bundle = [this]() -> Result<x509::AuthoritiesPtr> { return own_bundle_; },
         .log = log_.logger()});
  }
  X509PopOptions options(X509PopMode mode, std::string_view path = {}) {
    return {.agent_path =
                AgentPathTemplate::parse(path.empty() ? x509pop_default_agent_path(mode) : path,
                                         x509pop_template_data(), random_)
                    .take(),
            .mode = mode};
  }
  X509PopOptions external(std::string_view path = {}) {
    X509PopOptions out = options(X509PopMode::kExternalPki, path);
    out.roots = {pki_.certificate()};
    return out;
  }
  // Both halves of a whole conversation.
  Result<AgentAttributes> attest(const NodeAttestor& server, const FakeDevice& device,
                                 const std::string& address = "10.0.0.7:4711") {
    auto conversation = server.begin({.address = address});
    auto first = TRY(conversation->start(x509pop::encode_attestation(device.chain)));
    auto challenge = TRY(x509pop::parse_challenge(std::get<Challenge>(first).bytes));
    auto answer = TRY(x509pop::respond(*device.key, challenge, random_));
    auto last = TRY(conversation->challenge_response(x509pop::encode_response(answer)));
    return std::get<AgentAttributes>(last);
  }
  std::string refusal(const NodeAttestor& server, const FakeDevice& device) {
    auto result = attest(server, device);
    return result.ok() ? "attested" : result.error().message;
  }

  FakeClock clock_;
  SeededRandom random_{9};
  CapturedLog log_;
  spiffe::TrustDomain domain_ = spiffe::TrustDomain::parse("example.org").take();
  x509::FakeAuthority pki_{"devices.example", clock_.now()};
  x509::AuthoritiesPtr own_bundle_;
};

TEST_F(X509PopAttestorTest, IdAndSelectorsComeFromTheCertificate) {
  auto device = FakeDevice::make(
      pki_, clock_.now(),
      {.common_name = "node-1",
       .uris = {"x509pop://example.org/cluster/a%20b/c", "x509pop://example.org/zone",
                "x509pop://other/x/y", "spiffe://elsewhere/z"}});
  auto attributes = attest(*attestor(external()), device);
  ASSERT_TRUE(attributes.ok()) << attributes.error().message;
  const auto leaf = x509::Certificate::parse(device.chain[0]).take();
  const std::string print = hex_encode(crypto::sha1(leaf->der()));
  EXPECT_EQ(attributes->agent_id.text(), "spiffe://example.org/spire/agent/x509pop/" + print);
  EXPECT_TRUE(attributes->can_reattest);
  EXPECT_THAT(
      attributes->selectors,
      ElementsAre(Selector{"x509pop", "subject:cn:node-1"},
                  Selector{"x509pop",
                           "ca:fingerprint:" + hex_encode(crypto::sha1(pki_.certificate()->der()))},
                  Selector{"x509pop", "serialnumber:" + hex_encode(leaf->serial())},
                  Selector{"x509pop", "san:cluster:a b/c"}));
  EXPECT_TRUE(log_.has("cannot extract x509pop san selectors from x509pop://example.org/zone"));
}

TEST_F(X509PopAttestorTest, EveryCaOfTheChainIsASelector) {
  auto intermediate = pki_.intermediate(clock_.now());
  auto device = FakeDevice::make(intermediate, clock_.now(), {});
  device.chain.push_back(intermediate.certificate()->der());
  auto attributes = attest(*attestor(external()), device);
  ASSERT_TRUE(attributes.ok()) << attributes.error().message;
  int prints = 0;
  for (const Selector& selector : attributes->selectors) {
    prints += selector.value.starts_with("ca:fingerprint:") ? 1 : 0;
  }
  EXPECT_EQ(prints, 2);
}

TEST_F(X509PopAttestorTest, ACertificateWithoutItsKeyIsNotEnough) {
  auto device = FakeDevice::make(pki_, clock_.now(), {});
  device.key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  auto refused = attest(*attestor(external()), device);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  EXPECT_EQ(refused.error().message,
            "nodeattestor(x509pop): challenge response verification failed: ECDSA signature "
            "verify failed");
}

TEST_F(X509PopAttestorTest, AnAnswerIsHeardOnce) {
  auto device = FakeDevice::make(pki_, clock_.now(), {});
  auto server = attestor(external());
  auto conversation = server->begin({});
  EXPECT_FALSE(conversation->challenge_response("{}").ok());
  auto first = conversation->start(x509pop::encode_attestation(device.chain)).take();
  auto challenge = x509pop::parse_challenge(std::get<Challenge>(first).bytes).take();
  EXPECT_FALSE(conversation->challenge_response("{}").ok());
  auto good = x509pop::encode_response(x509pop::respond(*device.key, challenge, random_).take());
  EXPECT_EQ(conversation->challenge_response(good).error().message,
            "nodeattestor(x509pop): no challenge was sent");
}

TEST_F(X509PopAttestorTest, AnAnswerToAnotherConversationIsWorthless) {
  auto device = FakeDevice::make(pki_, clock_.now(), {});
  auto server = attestor(external());
  auto one = server->begin({});
  auto two = server->begin({});
  auto first = one->start(x509pop::encode_attestation(device.chain)).take();
  ASSERT_TRUE(two->start(x509pop::encode_attestation(device.chain)).ok());
  auto challenge = x509pop::parse_challenge(std::get<Challenge>(first).bytes).take();
  auto answer = x509pop::encode_response(x509pop::respond(*device.key, challenge, random_).take());
  EXPECT_FALSE(two->challenge_response(answer).ok());
}

TEST_F(X509PopAttestorTest, StrangersExpiredAndUnsuitableCertificatesAreRefused) {
  auto server = attestor(external());
  x509::FakeAuthority strange("devices.example", clock_.now());
  EXPECT_THAT(refusal(*server, FakeDevice::make(strange, clock_.now(), {})),
              HasSubstr("nodeattestor(x509pop): certificate verification failed: x509: "));
  auto device = FakeDevice::make(pki_, clock_.now(), {});
  clock_.advance(hours(2));
  EXPECT_THAT(refusal(*server, device), HasSubstr("certificate verification failed: x509: "));
}

TEST_F(X509PopAttestorTest, PayloadsAreCheckedBeforeTheyCost) {
  auto server = attestor(external());
  auto start = [&server](ByteView payload) {
    return server->begin({})->start(payload).error().message;
  };
  EXPECT_EQ(start(""), "payload cannot be empty");
  EXPECT_THAT(start("{"), HasSubstr("nodeattestor(x509pop): failed to unmarshal data: "));
  EXPECT_EQ(start("{}"), "nodeattestor(x509pop): no certificate to attest");
  EXPECT_EQ(start(x509pop::encode_attestation(std::vector<Bytes>(6, "x"))),
            "nodeattestor(x509pop): too many intermediate certificates");
  EXPECT_THAT(start(x509pop::encode_attestation({"x"})),
              HasSubstr("nodeattestor(x509pop): unable to parse leaf certificate: "));
  auto device = FakeDevice::make(pki_, clock_.now(), {});
  EXPECT_THAT(start(x509pop::encode_attestation({device.chain[0], "x"})),
              HasSubstr("unable to parse intermediate certificate 0: "));
}

TEST_F(X509PopAttestorTest, LargeRsaKeysAreRefused) {
  auto options = external();
  options.rsa_key_bits_max = 2047;
  auto device = FakeDevice::make(pki_, clock_.now(), {.key_type = crypto::KeyType::kRsa2048});
  EXPECT_EQ(refusal(*attestor(options), device),
            "nodeattestor(x509pop): leaf certificate key size too large");
  options.rsa_key_bits_max = 2048;
  EXPECT_EQ(refusal(*attestor(options), device), "attested");
}

TEST_F(X509PopAttestorTest, ClientIpMustBeInTheCertificate) {
  auto options = external();
  options.verify_client_ip = true;
  auto server = attestor(options);
  auto device = FakeDevice::make(pki_, clock_.now(), {.ips = {Bytes("\x0a\0\0\x07", 4)}});
  EXPECT_TRUE(attest(*server, device).ok());
  EXPECT_TRUE(attest(*server, device, "[::ffff:10.0.0.7]:1").ok());
  auto other = attest(*server, device, "10.0.0.8:1");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, Code::kPermissionDenied);
  EXPECT_EQ(other.error().message,
            "nodeattestor(x509pop): client IP 10.0.0.8 does not match any certificate IP SAN");
  EXPECT_THAT(attest(*server, device, "").error().message,
              HasSubstr("client IP not available for verification"));
  EXPECT_THAT(attest(*server, device, "name:1").error().message,
              HasSubstr("invalid client IP \"name\""));
}

TEST_F(X509PopAttestorTest, SpiffeModeTrustsOurOwnBundleUnderThePrefix) {
  x509::FakeAuthority own("example.org", clock_.now());
  auto server = attestor(options(X509PopMode::kSpiffe));
  auto device =
      FakeDevice::make(own, clock_.now(), {.uris = {"spiffe://example.org/spire-exchange/rack/7"}});
  EXPECT_THAT(refusal(*server, device), HasSubstr("certificate verification failed"))
      << "there is no bundle yet";
  own_bundle_ = std::make_shared<const x509::Authorities>(own.roots());
  auto attributes = attest(*server, device);
  ASSERT_TRUE(attributes.ok()) << attributes.error().message;
  EXPECT_EQ(attributes->agent_id.text(), "spiffe://example.org/spire/agent/x509pop/rack/7");
  EXPECT_EQ(refusal(*server, FakeDevice::make(own, clock_.now(),
                                              {.uris = {"spiffe://example.org/other/7"}})),
            "nodeattestor(x509pop): x509 cert doesnt match SVID prefix");
  EXPECT_EQ(refusal(*server, FakeDevice::make(own, clock_.now(), {})),
            "nodeattestor(x509pop): valid SVID x509 cert not found");
  EXPECT_EQ(
      refusal(*server, FakeDevice::make(own, clock_.now(),
                                        {.uris = {"spiffe://other.org/spire-exchange/rack/7"}})),
      "nodeattestor(x509pop): valid SVID x509 cert not found");
}

TEST_F(X509PopAttestorTest, TheAgentsPathComesFromTheTemplate) {
  auto device = FakeDevice::make(pki_, clock_.now(),
                                 {.common_name = "Node-1",
                                  .uris = {"x509pop://example.org/zone/b", "https://u@h:1/p%20q?x"},
                                  .ips = {Bytes("\x0a\0\0\x07", 4)}});
  auto path = [&](std::string_view text) {
    auto attributes = attest(*attestor(external(text)), device);
    return attributes.ok() ? std::string(attributes->agent_id.path()) : attributes.error().message;
  };
  EXPECT_EQ(path("/cn/{{ .Subject.CommonName }}"), "/spire/agent/cn/Node-1");
  EXPECT_EQ(path("/{{ .Certificate.Subject.CommonName | lower }}"), "/spire/agent/node-1");
  EXPECT_EQ(path("/{{ .TrustDomain }}/{{ .SerialNumberHex }}"), "/spire/agent/example.org/0abc");
  EXPECT_EQ(path("/{{ .URISanSelectors.zone }}/{{ index .URISanSelectors \"zone\" }}"),
            "/spire/agent/b/b");
  EXPECT_EQ(path("/{{ (index .URIs 1).Scheme }}/{{ (index .IPAddresses 0) }}"),
            "/spire/agent/https/10.0.0.7");
  EXPECT_EQ(path("{{ range .URIs }}/{{ .Path | trimPrefix \"/\" | replace \" \" \"_\" }}{{ end }}"),
            "/spire/agent/zone/b/p_q");
  EXPECT_EQ(path("/{{ sha256sum .Fingerprint | trunc 8 }}").size(), 21U);
}

TEST_F(X509PopAttestorTest, ATemplateThatFailsOrMakesNoPathRefusesTheAgent) {
  auto device = FakeDevice::make(pki_, clock_.now(), {.common_name = "a b"});
  EXPECT_EQ(
      refusal(*attestor(external("/{{ .Subject.CommonName }}")), device),
      "nodeattestor(x509pop): failed to make spiffe id: invalid agent path suffix \"/a b\": "
      "path segment characters are limited to letters, numbers, dots, dashes, and underscores");
  EXPECT_THAT(refusal(*attestor(external("{{ .Subject.CommonName }}")), device),
              HasSubstr("invalid agent path suffix \"a b\""));
  EXPECT_THAT(refusal(*attestor(external("/{{ index .DNSNames 0 }}")), device),
              HasSubstr("failed to make spiffe id: template: agent-path:1"));
  EXPECT_THAT(refusal(*attestor(external("/{{ .URISanSelectors.zone }}")), device),
              HasSubstr("map has no entry for key \"zone\""));
  EXPECT_THAT(refusal(*attestor(external("/../x")), device), HasSubstr("invalid agent path"));
}

}  // namespace
}  // namespace steeple::server
