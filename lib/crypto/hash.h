// SPDX-License-Identifier: Apache-2.0

// Digests. Algorithms are fetched once for the process, contexts are per thread. Any thread.

#pragma once

#include "lib/base/bytes.h"

namespace steeple::crypto {

enum class Hash : std::uint8_t { kSha1, kSha256, kSha384, kSha512 };

Bytes digest(Hash hash, ByteView data);

// For key ids and the like (RFC 5280 4.2.1.2), never for signatures.
inline Bytes sha1(ByteView data) { return digest(Hash::kSha1, data); }
inline Bytes sha256(ByteView data) { return digest(Hash::kSha256, data); }
inline Bytes sha384(ByteView data) { return digest(Hash::kSha384, data); }
inline Bytes sha512(ByteView data) { return digest(Hash::kSha512, data); }

}  // namespace steeple::crypto
