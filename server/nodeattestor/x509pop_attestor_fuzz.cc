// SPDX-License-Identifier: Apache-2.0

// Fuzz target: what an unknown agent may send to x509pop, as payload and as answer. It never gets
// attributes: the fuzzer holds no key.

#include <cstddef>
#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509pop/x509pop.h"
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
    steeple::server::X509PopOptions options;
    options.roots = {pki.certificate()};
    return steeple::server::x509pop_attestor(std::move(options),
                                             spiffe::TrustDomain::parse("example.org").take(),
                                             {clock, random, {}, {}});
  }
};

}  // namespace

std::vector<std::string> steeple::fuzz_seeds() {
  return {R"({"certificates":["MIIB"]})",
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
  return 0;
}
