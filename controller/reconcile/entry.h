// SPDX-License-Identifier: Apache-2.0

// What makes two entries the same, and what makes them equal. Entries with one key cannot stand
// beside each other in SPIRE; the content is what an update may change. Pure functions.

#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "controller/template/renderer.h"

namespace steeple::controller {

// SHA-256 of SPIFFE ID, parent and selectors (as a set).
struct EntryKey {
  std::array<std::uint8_t, 32> bytes{};

  friend bool operator==(const EntryKey&, const EntryKey&) = default;
  friend auto operator<=>(const EntryKey&, const EntryKey&) = default;
};

// Of everything else that we declare: lifetimes, federation, flags, DNS names, hint. Lists count as
// sets, as the server may return them in any order.
struct ContentDigest {
  std::array<std::uint8_t, 16> bytes{};

  friend bool operator==(const ContentDigest&, const ContentDigest&) = default;
};

EntryKey entry_key(const Entry& entry);
ContentDigest entry_content(const Entry& entry);

// The alias that a join token's agent gets; never ours to delete.
bool is_join_token_alias(const Entry& entry);
// It has a selector k8s:pod-uid, as all entries have that this program (or the reference) makes for
// pods.
bool is_for_pod(const Entry& entry);

std::string spiffe_id_text(const ::spire::api::types::SPIFFEID& id);
// `spiffe://td/x parent spiffe://td/y selectors [k8s:pod-uid:..] ...` for logs and plans.
std::string describe(const Entry& entry);

}  // namespace steeple::controller

template <>
struct std::hash<steeple::controller::EntryKey> {
  std::size_t operator()(const steeple::controller::EntryKey& key) const {
    std::size_t out = 0;  // a digest is as good a hash as any
    std::memcpy(&out, key.bytes.data(), sizeof out);
    return out;
  }
};
