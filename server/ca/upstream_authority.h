// SPDX-License-Identifier: Apache-2.0

// The seam to whoever signs our CA: a file on disk, another SPIRE server, a vault. It lives here
// and not in server/upstreamauthority because the CA uses it; the implementations are there. Calls
// block; they come from one worker at a time.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/base/watch.h"
#include "lib/jose/bundle.h"

namespace steeple::server {

struct MintedX509Ca {
  std::vector<Bytes> chain;                // DER, our CA first, without the root
  std::vector<jose::X509Authority> roots;  // of the upstream, whole
};

// What the upstream trusts now: replaces what it said before.
struct UpstreamBundle {
  std::vector<jose::X509Authority> roots;
  std::vector<jose::JwtAuthority> jwt_authorities;
};

class UpstreamAuthority {
 public:
  virtual ~UpstreamAuthority() = default;
  virtual std::string_view name() const = 0;  // "disk"
  virtual Result<MintedX509Ca> mint_x509_ca(ByteView csr, Duration preferred_ttl) = 0;
  // Gives all keys of the upstream bundle. kUnimplemented: the key stays in the local bundle only.
  virtual Result<std::vector<jose::JwtAuthority>> publish_jwt_key(
      const jose::JwtAuthority& key) = 0;
  // News of the upstream's roots and keys after the mint; null when it has no such stream.
  virtual const Watch<UpstreamBundle>* updates() const = 0;
};

}  // namespace steeple::server
