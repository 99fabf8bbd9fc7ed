// SPDX-License-Identifier: Apache-2.0

// The JWT signing key as a kind of authority.

#pragma once

#include <functional>

#include "lib/base/random.h"
#include "lib/crypto/key_type.h"
#include "lib/jose/bundle.h"
#include "server/ca/ca.h"
#include "server/ca/rotation.h"

namespace steeple::server {

class JwtKind final : public AuthorityKind {
 public:
  struct Deps {
    Clock& clock;
    Random& random;
    keymanager::KeyManager& keys;
    // Puts the key into the bundle that verifiers see, or fails.
    std::function<Result<void>(const jose::JwtAuthority&)> publish;
    Ca& ca;
  };

  JwtKind(crypto::KeyType key_type, Deps deps) : key_type_(key_type), deps_(std::move(deps)) {}

  const Names& names() const override;
  Result<Slot> make(const std::string& slot_id) override;
  Result<Slot> load(const JournalEntry& entry, const jose::Bundle* bundle) override;
  JournalEntry to_entry(const Slot& slot) const override;
  void activate(const Slot& slot) override { deps_.ca.activate(slot.jwt); }

 private:
  crypto::KeyType key_type_;
  Deps deps_;
};

}  // namespace steeple::server
