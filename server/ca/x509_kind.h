// SPDX-License-Identifier: Apache-2.0

// The X.509 CA as a kind of authority: self-signed, or signed by an upstream authority. Before a
// new one counts as made, it has proved itself on a throw-away SVID that verifies to the roots.

#pragma once

#include "lib/base/random.h"
#include "lib/crypto/key_type.h"
#include "server/ca/ca.h"
#include "server/ca/rotation.h"
#include "server/ca/upstream_authority.h"
#include "server/ca/upstream_roots.h"

namespace steeple::server {

class X509Kind final : public AuthorityKind {
 public:
  struct Deps {
    Clock& clock;
    Random& random;
    Datastore& datastore;
    keymanager::KeyManager& keys;
    UpstreamAuthority* upstream;  // null: self-signed
    UpstreamRoots& roots;
    Ca& ca;
    Logger log;
    Metrics& metrics;
  };

  X509Kind(crypto::KeyType key_type, Deps deps) : key_type_(key_type), deps_(std::move(deps)) {}

  const Names& names() const override;
  Result<Slot> make(const std::string& slot_id) override;
  Result<Slot> load(const JournalEntry& entry, const jose::Bundle* bundle) override;
  JournalEntry to_entry(const Slot& slot) const override;
  void activate(const Slot& slot) override;

 private:
  Result<X509SigningAuthority> self_sign(const keymanager::SignerPtr& signer);
  Result<X509SigningAuthority> ask_upstream(const keymanager::SignerPtr& signer);
  Result<void> prove(const X509SigningAuthority& authority, x509::Authorities roots) const;

  crypto::KeyType key_type_;
  Deps deps_;
};

}  // namespace steeple::server
