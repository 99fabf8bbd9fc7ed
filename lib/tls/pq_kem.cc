// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/pq_kem.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

namespace steeple::tls {

Result<void> check_pq_kem(bool required) {
  if (required) {
    return failed_precondition(fmt::format(
        "require_pq_kem cannot be met: {} has no post-quantum key exchange (X25519MLKEM768)",
        OpenSSL_version(OPENSSL_VERSION)));
  }
  return {};
}

}  // namespace steeple::tls
