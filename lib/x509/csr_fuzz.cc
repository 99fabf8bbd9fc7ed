// SPDX-License-Identifier: Apache-2.0

// Fuzz target: certificate signing requests from foreign bytes.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/x509/csr.h"

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
