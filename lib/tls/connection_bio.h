// SPDX-License-Identifier: Apache-2.0

// OpenSSL's view of an io::Connection: a BIO without buffers, so that each record is one recv(2) or
// send(2) on the socket, made by lib/io (which keeps SIGPIPE away). On the connection's loop.

#pragma once

#include <openssl/bio.h>

#include "lib/io/connection.h"

namespace steeple::tls {

// Null when out of memory. `connection` must outlive the BIO.
BIO* connection_bio(io::Connection& connection);

}  // namespace steeple::tls
