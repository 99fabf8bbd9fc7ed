// SPDX-License-Identifier: Apache-2.0

// SSL_CTX objects for programs that bring their own sockets: one context for the life of the
// program that presents the newest identity and verifies against the newest bundles at every
// handshake, so rotation needs no new context. The rules are those of handshake.h.
//
// The context may be used on any thread. It holds its policy.

#pragma once

#include <openssl/ssl.h>

#include <memory>

#include "lib/base/result.h"
#include "lib/tls/handshake.h"
#include "lib/tls/tls_context.h"

namespace steeple::tls {

// `policy->alpn` empty: none is negotiated.
Result<SslPtr<SSL_CTX>> following_server_context(std::shared_ptr<const ServerPolicy> policy);
Result<SslPtr<SSL_CTX>> following_client_context(std::shared_ptr<const ClientPolicy> policy);

}  // namespace steeple::tls
