// SPDX-License-Identifier: Apache-2.0

// PEM (RFC 7468), read as Go's encoding/pem does where users see it: text around the blocks is
// ignored, a damaged block is an error. Encrypted blocks (with headers) are refused.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"

namespace steeple::crypto {

struct PemBlock {
  std::string label;  // "CERTIFICATE", "PRIVATE KEY", ...
  Bytes der;
};

inline constexpr std::size_t kPemBlocksMax = 10'000;

// All blocks in order; none is no error here. The content of a private key stays in `der`: callers
// wipe it.
Result<std::vector<PemBlock>> pem_decode(std::string_view text);

// 64 columns, "\n" line ends, ends with a newline.
std::string pem_encode(std::string_view label, ByteView der);

}  // namespace steeple::crypto
