// SPDX-License-Identifier: Apache-2.0

// The rules that every stored entry obeys, however it was made (surface 5.5). Error texts are
// SPIRE's ("datastore-validation: ...").

#pragma once

#include "lib/base/result.h"
#include "server/datastore/types.h"

namespace steeple::server {

// All rules; the datastore applies them on create.
Result<void> validate_entry(const Entry& entry);
// The subset that holds for an entry as an update leaves it.
Result<void> validate_updated_entry(const Entry& entry);

}  // namespace steeple::server
