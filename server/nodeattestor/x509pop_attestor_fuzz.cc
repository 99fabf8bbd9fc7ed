// SPDX-License-Identifier: Apache-2.0

// Fuzz target: what an unknown agent may send to x509pop, as payload and as answer. It never gets
// attributes: the fuzzer holds no key. And what a certificate may say that becomes an agent's path.

#include <cstddef>
#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509pop/x509pop.h"
#include "server/nodeattestor/certificate_value.h"
#include "server/nodeattestor/fake_device.h"
#include "server/nodeattestor/x509pop.h"

namespace {

struct World {
  steeple::FakeClock clock;
  steeple::SeededRandom random{1};
  steeple::x509::FakeAuthority pki{"devices.example", clock.now()};
  std::string payload = steeple::x509pop::encode_attestation(
      steeple::server::FakeDevice::make(pki, clock.now(), {}).chain);
  std::unique_ptr<steeple::server::NodeAttestor> attestor = make();

  std::unique_ptr<steeple::server::NodeAttestor> make() {
    using namespace steeple::server;
    auto path = AgentPathTemplate::parse("/{{ .Fingerprint }}", x509pop_template_data(), random);
    X509PopOptions options{.agent_path = std::move(path).take(), .roots = {pki.certificate()}};
    return x509pop_attestor(std::move(options), spiffe::TrustDomain::parse("example.org").take(),
                            {clock, random, {}, {}});
  }
};

}  // namespace

std::vector<std::string> steeple::fuzz_seeds() {
  x509::FakeAuthority pki("devices.example", FakeClock().now());
  auto device = server::FakeDevice::make(
      pki, FakeClock().now(), {.common_name = "n", .uris = {"https://u@h:1/p%20q?x", "urn:x"}});
  return {device.chain.front(), R"({"certificates":["MIIB"]})",
          R"({"rsa_signature":null,"ecdsa_signature":{"nonce":"AAAA","r":"AQ==","s":"Ag=="}})",
          R"({"rsa_signature":{"nonce":"AAAA","signature":"AQ=="},"ecdsa_signature":null})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  static World world;
  const ByteView text(reinterpret_cast<const char*>(data), size);
  auto payload = world.attestor->begin({})->start(text);
  CHECK(!payload.ok() || std::holds_alternative<server::Challenge>(*payload));
  auto conversation = world.attestor->begin({});
  CHECK(conversation->start(world.payload).ok());
  CHECK(!conversation->challenge_response(text).ok());
  if (auto certificate = x509::Certificate::parse(text); certificate.ok()) {
    if (auto value = server::certificate_value(**certificate); value.ok()) {
      CHECK(value->type() == server::certificate_type());
    }
  }
  return 0;
}
