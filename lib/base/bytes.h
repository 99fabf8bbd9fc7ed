// SPDX-License-Identifier: Apache-2.0

// Bytes and their text forms. Bytes is std::string on purpose: protobuf, SQL and HTTP libraries
// all speak it. ByteView is a borrowed range. Decoders are strict: what they accept, the encoder
// gives back.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace steeple {

using Bytes = std::string;
using ByteView = std::string_view;

std::string hex_encode(ByteView bytes);  // lower case
Result<Bytes> hex_decode(std::string_view text);

std::string base64_encode(ByteView bytes);              // RFC 4648 section 4, padded
Result<Bytes> base64_decode(std::string_view text);     // padding required, no white space
std::string base64url_encode(ByteView bytes);           // RFC 4648 section 5, no padding
Result<Bytes> base64url_decode(std::string_view text);  // no padding allowed

// Compares without a data-dependent branch; lengths may leak.
bool equal_constant_time(ByteView a, ByteView b);

inline std::span<const std::uint8_t> as_u8(ByteView bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace steeple
