// SPDX-License-Identifier: Apache-2.0

// Entries from requests: the one place where a spire.api.types.Entry becomes an Entry, or is
// refused with SPIRE's words (surface 5.5). What passes here obeys every rule of the datastore.

#pragma once

#include <string_view>

#include "lib/base/result.h"
#include "server/datastore/entry_rules.h"
#include "server/datastore/types.h"
#include "spire/api/types/entry.pb.h"
#include "spire/api/types/selector.pb.h"
#include "spire/api/types/spiffeid.pb.h"

namespace steeple::server {

// For create: every rule.
Result<Entry> entry_from_proto(const spiffe::TrustDomain& domain,
                               const spire::api::types::Entry& proto);

// For update: the id and the fields of the mask, by the same rules. Fields outside the mask keep
// their default; `mask` null means all.
struct EntryChange {
  Entry entry;
  EntryMask mask;
};
Result<EntryChange> entry_change_from_proto(const spiffe::TrustDomain& domain,
                                            const spire::api::types::Entry& proto,
                                            const spire::api::types::EntryMask* mask);

// `mask` null means all fields; the id is always there.
void entry_to_proto(const Entry& entry, const spire::api::types::EntryMask* mask,
                    spire::api::types::Entry& proto);

// Shared with the agent and bundle services.
Result<std::vector<Selector>> selectors_from_proto(
    const google::protobuf::RepeatedPtrField<spire::api::types::Selector>& proto);
// Null pointers are refused as missing.
Result<spiffe::SpiffeId> member_id_from_proto(const spiffe::TrustDomain& domain,
                                              const spire::api::types::SPIFFEID* proto);

// A DNS name for a certificate: at most 253 bytes of ASCII, labels of 1 to 63 letters, digits, '-'
// and '_', no '-' at their ends, "xn--" only before valid punycode; a wildcard only as the whole
// first label. (SPIRE lets any ASCII character pass, NUL and space included.)
Result<void> validate_dns_name(std::string_view name);
// A wildcard among the names that covers another of them ("*.b" and "a.b") is refused.
Result<void> check_wildcard_overlap(const std::vector<std::string>& names);

}  // namespace steeple::server
