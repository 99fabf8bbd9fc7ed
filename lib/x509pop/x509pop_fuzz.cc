// SPDX-License-Identifier: Apache-2.0

// Fuzz target: the three JSON messages of x509pop. What parses must encode and parse again.

#include <cstddef>
#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509pop/x509pop.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {x509pop::encode_attestation({"leaf", "ca"}),
          x509pop::encode_challenge({x509pop::Scheme::kRsa, Bytes(32, 'n')}),
          x509pop::encode_challenge({x509pop::Scheme::kEcdsa, Bytes(32, 'n')}),
          x509pop::encode_response({x509pop::Scheme::kRsa, Bytes(32, 'n'), "sig"}),
          R"({"rsa_signature":null,"ecdsa_signature":{"nonce":"AAAA","r":"AQ==","s":"Ag=="}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  const ByteView text(reinterpret_cast<const char*>(data), size);
  if (auto attestation = x509pop::parse_attestation(text); attestation.ok()) {
    CHECK(x509pop::parse_attestation(x509pop::encode_attestation(*attestation)).take() ==
          *attestation);
  }
  if (auto challenge = x509pop::parse_challenge(text); challenge.ok()) {
    CHECK(x509pop::parse_challenge(x509pop::encode_challenge(*challenge)).take().nonce ==
          challenge->nonce);
  }
  if (auto response = x509pop::parse_response(text); response.ok()) {
    CHECK(x509pop::parse_response(x509pop::encode_response(*response)).take().signature ==
          response->signature);
  }
  return 0;
}
