// SPDX-License-Identifier: Apache-2.0

// Fuzz target: tokens from foreign bytes, up to the decision on their claims. The first half of the
// input may also stand as bare header and claims, so that the fuzzer need not learn base64.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/jose/golden_go.h"
#include "lib/jose/jws.h"
#include "lib/jose/jwt_svid.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {std::string(jose::golden::kEs256), std::string(jose::golden::kRs256),
          std::string(jose::golden::kPs384),
          R"({"alg":"ES256","kid":"k","typ":"JWT"})"
          "\n"
          R"({"sub":"spiffe://example.org/w","aud":["a","b"],"exp":1893456999,"iat":1893455000})",
          R"({"alg":"RS512","kid":"k"})"
          "\n"
          R"({"sub":"spiffe://example.org/w","aud":"a","exp":1893456999.5,"nbf":1,"x":{"y":[1]}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  const WallTime now = from_unix_seconds(1'893'456'000);
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto jws = jose::Jws::parse(text); jws.ok()) {
    CHECK(jose::algorithm_from_name(jose::algorithm_name(jws->header().algorithm)) ==
          jws->header().algorithm);
  }
  (void)jose::parse_jwt_svid_insecure(text, {"a"}, now);
  std::size_t half = text.find('\n');
  if (half != std::string_view::npos) {
    std::string token = base64url_encode(text.substr(0, half)) + '.' +
                        base64url_encode(text.substr(half + 1)) + ".AAAA";
    if (auto svid = jose::parse_jwt_svid_insecure(token, {}, now); svid.ok()) {
      CHECK(svid->expires_at >= now - jose::kJwtLeeway);
    }
  }
  return 0;
}
