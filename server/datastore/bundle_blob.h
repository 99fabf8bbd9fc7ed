// SPDX-License-Identifier: Apache-2.0

// bundles.data: a serialised spire.common.Bundle, and the changes made to it. Changes work on the
// protobuf message so that what jose::Bundle does not know (WIT keys) is kept. Internal to
// server/datastore.

#pragma once

#include <string_view>

#include "lib/jose/bundle.h"
#include "server/datastore/types.h"
#include "spire/common/common.pb.h"

namespace steeple::server {

// `domain_id` is bundles.trust_domain ("spiffe://example.org"), for errors and for blobs that lack
// it.
Result<spire::common::Bundle> parse_bundle_blob(std::string_view domain_id, std::string_view data);

Result<jose::Bundle> bundle_from_blob(const spire::common::Bundle& blob);
void apply_bundle(const jose::Bundle& from, const BundleMask& mask, spire::common::Bundle& to);

// Adds the authorities that are not there yet; true if any was added. One that is there but tainted
// stays tainted.
bool merge_bundle(const jose::Bundle& from, spire::common::Bundle& to);
// Drops what ended at or before; true if anything did. Refuses to drop all of a kind.
Result<bool> prune_bundle_blob(std::int64_t expires_before, spire::common::Bundle& blob);

Result<void> taint_x509(std::string_view subject_key_id, spire::common::Bundle& blob);
Result<void> revoke_x509(std::string_view subject_key_id, spire::common::Bundle& blob);
Result<void> taint_jwt(std::string_view kid, spire::common::Bundle& blob);
Result<void> revoke_jwt(std::string_view kid, spire::common::Bundle& blob);

}  // namespace steeple::server
