// SPDX-License-Identifier: Apache-2.0

// Fuzz target: certificate signing requests from foreign bytes.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509/csr.h"

std::vector<std::string> steeple::fuzz_seeds() {
  auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  return {x509::build_csr(*key, {}).take(),
          x509::build_csr(*key, {.uri_sans = {"spiffe://example.org/web"},
                                 .dns_sans = {"web.example.org", "b"}})
              .take()};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  ByteView bytes(reinterpret_cast<const char*>(data), size);
  auto request = x509::CertificateRequest::parse(bytes);
  if (request.ok()) {
    CHECK(request->subject_name().ok());
    CHECK(bytes.find(request->public_key().spki()) != ByteView::npos);
    (void)request->check_signature();
  }
  return 0;
}
