// SPDX-License-Identifier: Apache-2.0

// The simulated twin of the TLS handshake: exchanges ALPN and the certificate chains in clear over
// any connection and calls the same policies in the same order; refusals reach the other side as an
// alert. There is no encryption and no proof that a side holds its key, so it is for simulations
// and tests only. Same threads and lifetimes as the real one.

#pragma once

#include <memory>

#include "lib/tls/handshake.h"

namespace steeple::tls {

std::unique_ptr<Handshake> fake_handshake();

}  // namespace steeple::tls
