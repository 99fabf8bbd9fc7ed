// SPDX-License-Identifier: Apache-2.0

// Fuzz target: SPIFFE IDs, trust domains and paths from foreign text. What is accepted is exactly
// what was given, and its parts make it again: no normalisation, no second spelling.

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/base/limits.h"
#include "spiffe/spiffe_id.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {"spiffe://example.org", "spiffe://example.org/spire/agent/join_token/1-2_3.A",
          "example.org", "/a/b/c", "spiffe://a/.../..a"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto id = spiffe::SpiffeId::parse(text); id.ok()) {
    CHECK(id->text() == text && text.size() <= limits::kSpiffeIdBytesMax);
    CHECK(spiffe::validate_path(id->path()).ok());
    CHECK(spiffe::SpiffeId::make(id->trust_domain(), id->path()).take() == *id);
    CHECK(text.find_first_of(" %?#@\\\t\n") == std::string_view::npos);
    CHECK(id->path().find("/../") == std::string_view::npos);
    CHECK(id->path().find("//") == std::string_view::npos);
    CHECK(spiffe::TrustDomain::parse(text).take() == id->trust_domain());
  }
  if (auto domain = spiffe::TrustDomain::parse(text); domain.ok()) {
    CHECK(domain->name().size() <= limits::kTrustDomainBytesMax);
    CHECK(spiffe::SpiffeId::parse(domain->id_string()).take() == domain->id());
    if (auto id = spiffe::SpiffeId::make(*domain, text); id.ok()) {
      CHECK(id->path() == text);
    }
  }
  return 0;
}
