// SPDX-License-Identifier: Apache-2.0

// A verified chain becomes the peer's: inner part of the two handshakes, on the loop.

#pragma once

#include <vector>

#include "lib/io/connection.h"

namespace steeple::tls {

// Sets the chain and what is asked of its leaf at every call, so that nobody parses it again. A
// leaf that does not parse leaves the facts empty; no call is allowed on such a connection.
void set_chain(io::Peer& peer, std::vector<Bytes> chain);

}  // namespace steeple::tls
