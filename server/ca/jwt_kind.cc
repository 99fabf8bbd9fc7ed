// SPDX-License-Identifier: Apache-2.0

#include "server/ca/jwt_kind.h"

#include <algorithm>
#include <utility>

namespace steeple::server {

namespace {

constexpr std::size_t kKeyIdLength = 32;

std::string key_id(const std::string& slot_id) { return "JWT-Signer-" + slot_id; }

Slot to_slot(std::string id, WallTime issued_at, JwtSigningAuthority authority) {
  return {.id = std::move(id),
          .status = SlotStatus::kPrepared,
          .authority_id = authority.key_id,
          .issued_at = issued_at,
          .not_after = authority.not_after,
          .jwt = std::make_shared<const JwtSigningAuthority>(std::move(authority))};
}

Error unusable(std::string why) { return not_found(std::move(why)); }

}  // namespace

const AuthorityKind::Names& JwtKind::names() const {
  static constexpr Names kNames{.kind = JournalKind::kJwt,
                                .noun = "JWT key",
                                .slot_noun = "JWT key",
                                .upstream_field = false,
                                .prepare_metric = "ca.manager.jwt_key.prepare",
                                .activate_metric = "manager.jwt_key.activate"};
  return kNames;
}

Result<Slot> JwtKind::make(const std::string& slot_id) {
  auto signer = TRY(deps_.keys.generate_key(key_id(slot_id), key_type_));
  const WallTime now = truncate_to_seconds(deps_.clock.now());
  JwtSigningAuthority authority{.signer = signer,
                                .key_id = deps_.random.alphanumeric(kKeyIdLength),
                                .not_after = truncate_to_seconds(now + deps_.ca.options().ca_ttl)};
  TRY(deps_.publish({.spki_der = signer->public_key().spki(),
                     .key_id = authority.key_id,
                     .expires_at = authority.not_after}));
  return to_slot(slot_id, now, std::move(authority));
}

Result<Slot> JwtKind::load(const JournalEntry& entry, const jose::Bundle* bundle) {
  if (entry.slot_id != "A" && entry.slot_id != "B") {
    return unusable(entry.slot_id.empty() ? "no slot id" : "unknown slot id");
  }
  if (entry.not_after < to_unix_seconds(deps_.clock.now())) {
    return unusable("slot expired");
  }
  if (bundle != nullptr && std::ranges::none_of(bundle->jwt_authorities, [&entry](const auto& key) {
        return key.key_id == entry.key_id;
      })) {
    return unusable("key is not in the bundle");
  }
  auto signer = deps_.keys.get_key(key_id(entry.slot_id));
  if (!signer.ok()) {
    return signer.error().code == Code::kNotFound ? unusable("no key manager key")
                                                  : std::move(signer).error();
  }
  if ((*signer)->public_key().spki() != entry.public_key) {
    return unusable("public key does not match key manager key");
  }
  Slot slot = to_slot(entry.slot_id, from_unix_seconds(entry.issued_at),
                      {.signer = std::move(*signer),
                       .key_id = entry.key_id,
                       .not_after = from_unix_seconds(entry.not_after)});
  slot.status = entry.status;
  return slot;
}

JournalEntry JwtKind::to_entry(const Slot& slot) const {
  return {.slot_id = slot.id,
          .issued_at = to_unix_seconds(slot.issued_at),
          .not_after = to_unix_seconds(slot.not_after),
          .status = slot.status,
          .authority_id = slot.authority_id,
          .key_id = slot.jwt->key_id,
          .public_key = slot.jwt->signer->public_key().spki()};
}

}  // namespace steeple::server
