// SPDX-License-Identifier: Apache-2.0

// What signs: the CA for X.509-SVIDs and the key for JWT-SVIDs, as immutable snapshots that Ca
// reads; and the slot that holds one of either on its way from prepared to old. Plain data.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/keymanager/keymanager.h"
#include "lib/x509/builder.h"

namespace steeple::server {

struct X509SigningAuthority {
  std::shared_ptr<const x509::Issuer> issuer;
  // This CA and the intermediates below the upstream root, DER: they follow every SVID. Empty when
  // the CA is self-signed, for a root is never part of a chain.
  std::vector<Bytes> upstream_chain = {};
};

struct JwtSigningAuthority {
  keymanager::SignerPtr signer;
  std::string key_id;
  WallTime not_after;
};

// The journal stores these numbers.
enum class SlotStatus : std::uint8_t {
  kUnknown = 0,
  kPrepared = 2,  // in the bundle, not signing yet
  kActive = 3,    // signing
  kOld = 4,       // signed before
};

// One of the two places of a kind. An old slot keeps its names, for taint and revoke, but not the
// means to sign.
struct Slot {
  std::string id;  // "A" or "B"
  SlotStatus status = SlotStatus::kUnknown;
  std::string authority_id = {};  // hex subject key id, or the JWT key id; empty: never filled
  std::string upstream_authority_id = {};
  WallTime issued_at{};
  WallTime not_before{};
  WallTime not_after{};
  // Exactly one is set when the slot can sign.
  std::shared_ptr<const X509SigningAuthority> x509 = {};
  std::shared_ptr<const JwtSigningAuthority> jwt = {};

  bool empty() const { return (!x509 && !jwt) || status == SlotStatus::kOld; }
};

}  // namespace steeple::server
