// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/entry_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "lib/base/limits.h"

namespace steeple::server {
namespace {

Error refused(std::string_view why) {
  return invalid_argument(fmt::format("datastore-validation: {}", why));
}

bool good_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

bool same_type(const std::vector<Selector>& selectors) {
  return std::all_of(selectors.begin(), selectors.end(), [&selectors](const Selector& selector) {
    return selector.type == selectors.front().type;
  });
}

bool good_ttl(std::chrono::seconds ttl) {
  return ttl.count() >= 0 && ttl.count() <= std::numeric_limits<std::int32_t>::max();
}

Result<void> validate_ttls(const Entry& entry) {
  if (!good_ttl(entry.x509_svid_ttl)) {
    return refused("invalid registration entry: X509SvidTtl is not set");
  }
  if (!good_ttl(entry.jwt_svid_ttl)) {
    return refused("invalid registration entry: JwtSvidTtl is not set");
  }
  return {};
}

}  // namespace

Result<void> validate_entry(const Entry& entry) {
  if (entry.selectors.empty()) {
    return refused("invalid registration entry: missing selector list");
  }
  if (entry.store_svid) {
    if (entry.disable_x509_svid_prefetch) {
      return refused("specifying cache behaviour is incompatible with storable SVIDs");
    }
    if (!same_type(entry.selectors)) {
      return refused(
          "invalid registration entry: selector types must be the same when store SVID is enabled");
    }
  }
  if (entry.id.size() > limits::kEntryIdBytesMax) {
    return refused("invalid registration entry: entry ID too long");
  }
  if (!std::all_of(entry.id.begin(), entry.id.end(), good_id_character)) {
    return refused("invalid registration entry: entry ID contains invalid characters");
  }
  return validate_ttls(entry);
}

Result<void> validate_updated_entry(const Entry& entry) {
  if (entry.selectors.empty()) {
    return refused("invalid registration entry: missing selector list");
  }
  if (entry.store_svid && !same_type(entry.selectors)) {
    return refused(
        "invalid registration entry: selector types must be the same when store SVID is enabled");
  }
  return validate_ttls(entry);
}

}  // namespace steeple::server
