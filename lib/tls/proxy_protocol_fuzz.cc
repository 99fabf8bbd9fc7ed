// SPDX-License-Identifier: Apache-2.0

// Goal: no bytes make the PROXY header reader misbehave, ask for nothing, or read past its limit.
// Method: feed the input as a reader would, exactly as many bytes as are asked for.

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/tls/proxy_protocol.h"

std::vector<std::string> steeple::fuzz_seeds() {
  const std::string v2("\r\n\r\n\0\r\nQUIT\n", 12);
  return {"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
          "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
          "PROXY UNKNOWN\r\n",
          v2 + std::string("\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2", 16),
          v2 + std::string("\x21\x21\0\x24", 4) + std::string(36, '\1'),
          v2 + std::string("\x20\0\0\0", 4)};
}

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
