// SPDX-License-Identifier: Apache-2.0

// What the agent knows of a registration entry, checked when it came in. Immutable once shared.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/workloadattestor/selector.h"
#include "spiffe/spiffe_id.h"
#include "spiffe/trust_domain.h"

namespace steeple::agent {

struct Entry {
  std::string id;
  spiffe::SpiffeId spiffe_id;
  std::vector<Selector> selectors;  // sorted, no duplicates, never empty
  std::vector<spiffe::TrustDomain> federates_with = {};
  std::int64_t revision_number = 0;
  std::int64_t created_at = 0;  // Unix seconds; 0 from servers that do not tell
  std::string hint = {};
  bool admin = false;
  bool downstream = false;
  bool store_svid = false;
  bool prefetch = true;        // not disable_x509_svid_prefetch
  bool unique_jwt_id = false;  // jwt_svid_include_jti: such tokens are never cached

  friend bool operator==(const Entry&, const Entry&) = default;
};
using EntryPtr = std::shared_ptr<const Entry>;

// Surface 5.5: of entries with the same hint the oldest stays (then the lowest id). `entries` is in
// order of ids; so is the result. Entries that were dropped are told to `dropped`, if set.
std::vector<EntryPtr> without_duplicate_hints(const std::vector<EntryPtr>& entries,
                                              std::vector<EntryPtr>* dropped = nullptr);

}  // namespace steeple::agent
