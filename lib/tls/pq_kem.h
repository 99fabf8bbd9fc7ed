// SPDX-License-Identifier: Apache-2.0

// `experimental.require_pq_kem`: asks that every TLS connection uses a post-quantum key exchange.
// OpenSSL 3.0 has none, so the setting is refused at start-up: a clear configuration error instead
// of a silent downgrade.

#pragma once

#include "lib/base/result.h"

namespace steeple::tls {

// kFailedPrecondition when `required` and this OpenSSL cannot do it. Any thread.
Result<void> check_pq_kem(bool required);

}  // namespace steeple::tls
