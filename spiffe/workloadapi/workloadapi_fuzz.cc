// SPDX-License-Identifier: Apache-2.0

// Fuzz target: what an agent answers on the Workload API (the library does not trust it blindly),
// the identities and bundles inside, and the address in the environment. The first byte chooses
// the message.

#include <google/protobuf/stubs/logging.h>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509/fake_authority.h"
#include "spiffe/svid/jwt_svid.h"
#include "spiffe/workloadapi/address.h"
#include "spiffe/workloadapi/context.h"
#include "workload.pb.h"

namespace {

const steeple::WallTime kNow = steeple::from_unix_seconds(1'893'456'000);

template <class Message>
bool parse(steeple::ByteView text, Message& into) {
  return into.ParseFromArray(text.data(), static_cast<int>(text.size()));
}

void x509_answer(steeple::ByteView text) {
  X509SVIDResponse response;
  if (!parse(text, response)) {
    return;
  }
  if (auto context = spiffe::x509_context_from(response); context.ok()) {
    CHECK(!context->svids.empty());
    for (const spiffe::X509Svid& svid : context->svids) {
      CHECK(svid.leaf().public_key().spki() == svid.key()->public_key().spki());
    }
  }
}

}  // namespace

std::vector<std::string> steeple::fuzz_seeds() {
  google::protobuf::SetLogHandler(nullptr);
  x509::FakeAuthority authority("example.org", kNow);
  auto svid = authority.issue("/web", kNow);
  X509SVIDResponse response;
  X509SVID* one = response.add_svids();
  one->set_spiffe_id("spiffe://example.org/web");
  one->set_x509_svid(svid.chain.front());
  one->set_x509_svid_key(Bytes(svid.key->to_pkcs8().reveal()));
  one->set_bundle(authority.certificate()->der());
  (*response.mutable_federated_bundles())["spiffe://other"] = authority.certificate()->der();
  X509BundlesResponse x509_bundles;
  (*x509_bundles.mutable_bundles())["spiffe://example.org"] = authority.certificate()->der();
  JWTBundlesResponse jwt_bundles;
  (*jwt_bundles.mutable_bundles())["spiffe://example.org"] =
      R"({"keys":[{"kty":"EC","kid":"k","crv":"P-256",)"
      R"("x":"fWvv9OaBFLVfRvnuVWTIJO-8zyCqVlpYBiDzJJCSSAs",)"
      R"("y":"4iIFpk_LYGm0jpcR2UZ1hVAA4rOAMeU7Yn0ObcoVCIc"}]})";
  return {"0" + response.SerializeAsString(),
          "1" + x509_bundles.SerializeAsString(),
          "2" + jwt_bundles.SerializeAsString(),
          "3unix:///run/agent.sock",
          "3tcp://127.0.0.1:80",
          "3tcp://[::1]:80"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  if (size == 0) {
    return 0;
  }
  ByteView text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      x509_answer(text);
      break;
    case 1: {
      X509BundlesResponse response;
      if (parse(text, response)) {
        (void)spiffe::bundles_from(response).ok();
      }
      break;
    }
    case 2: {
      JWTBundlesResponse response;
      if (parse(text, response)) {
        (void)spiffe::bundles_from(response).ok();
      }
      break;
    }
    default:
      if (auto endpoint = spiffe::parse_address(text); endpoint.ok()) {
        CHECK(!endpoint->unix_path.empty() || endpoint->port != 0);
      }
      (void)spiffe::JwtSvid::parse_insecure(text, {"a"}, kNow).ok();
  }
  return 0;
}
