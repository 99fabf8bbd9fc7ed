// SPDX-License-Identifier: Apache-2.0

// The trust bundle of one trust domain as every part of the system passes it around: plain data.
// Its wire forms are in bundle_document.h (SPIFFE) and in the callers' protobuf adapters.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "spiffe/trust_domain.h"

namespace steeple::jose {

struct X509Authority {
  Bytes der;  // one certificate
  bool tainted = false;

  friend bool operator==(const X509Authority&, const X509Authority&) = default;
};

struct JwtAuthority {
  Bytes spki_der;
  std::string key_id;
  WallTime expires_at{};  // the epoch means: not known
  bool tainted = false;

  friend bool operator==(const JwtAuthority&, const JwtAuthority&) = default;
};

struct Bundle {
  spiffe::TrustDomain trust_domain;
  std::vector<X509Authority> x509_authorities = {};
  std::vector<JwtAuthority> jwt_authorities = {};
  std::uint64_t sequence_number = 0;
  Duration refresh_hint{};  // 0 means: none given; whole seconds on the wire

  friend bool operator==(const Bundle&, const Bundle&) = default;
};

}  // namespace steeple::jose
