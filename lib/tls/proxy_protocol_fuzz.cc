// SPDX-License-Identifier: Apache-2.0

// Goal: no bytes make the PROXY header reader misbehave, ask for nothing, or read past its limit.
// Method: feed the input as a reader would, exactly as many bytes as are asked for.

#include "lib/base/check.h"
#include "lib/tls/proxy_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple::tls;
  steeple::ByteView input(reinterpret_cast<const char*>(data), size);
  std::size_t taken = 0;
  while (true) {
    auto missing = proxy_header_missing(input.substr(0, taken));
    if (!missing.ok() || *missing > input.size() - taken) {
      return 0;
    }
    if (*missing == 0) {
      break;
    }
    taken += *missing;
    CHECK(taken <= kProxyHeaderBytesMax);
  }
  auto header = parse_proxy_header(input.substr(0, taken));
  CHECK(!header.ok() || header->bytes == taken);
  if (header.ok() && !header->client.empty()) {
    CHECK(TrustedNetworks::parse({"0.0.0.0/0", "::/0"}).take().contains(header->client));
  }
  return 0;
}
