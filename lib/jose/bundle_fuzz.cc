// SPDX-License-Identifier: Apache-2.0

// Fuzz target: JWKs, key sets and bundle documents from foreign bytes. What is accepted survives a
// round trip.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/jose/bundle_document.h"
#include "lib/jose/golden_go.h"

std::vector<std::string> steeple::fuzz_seeds() {
  const std::string ec =
      R"("kty":"EC","kid":"k","crv":"P-256","x":"fWvv9OaBFLVfRvnuVWTIJO-8zyCqVlpYBiDzJJCSSAs",)"
      R"("y":"4iIFpk_LYGm0jpcR2UZ1hVAA4rOAMeU7Yn0ObcoVCIc")";
  return {hex_decode(jose::golden::kCompactHex).take(), "{" + ec + "}",
          R"({"keys":[{"use":"jwt-svid",)" + ec + R"(}],"spiffe_sequence":3})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  static const spiffe::TrustDomain domain = spiffe::TrustDomain::parse("example.org").take();
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)jose::parse_jwk(text);
  (void)jose::parse_jwks(text);
  auto bundle = jose::parse_bundle_document(domain, text);
  if (bundle.ok()) {
    auto again = jose::parse_bundle_document(
        domain,
        jose::encode_bundle_document(*bundle, {.style = jose::JsonStyle::kIndented}).take());
    CHECK(again.ok() && again->x509_authorities == bundle->x509_authorities);
    CHECK(again->jwt_authorities.size() == bundle->jwt_authorities.size());
    CHECK(again->sequence_number == bundle->sequence_number);
  }
  return 0;
}
