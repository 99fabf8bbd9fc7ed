// SPDX-License-Identifier: Apache-2.0

// Fuzz target: JWKs, key sets and bundle documents from foreign bytes. What is accepted survives a
// round trip.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/jose/bundle_document.h"

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
