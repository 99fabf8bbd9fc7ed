// SPDX-License-Identifier: Apache-2.0

// OpenSSL contexts for mutual TLS between workloads. A context is made once and follows rotation:
// every handshake presents the source's newest SVID and verifies the peer with its newest bundles,
// then asks the authorizer. TLS 1.2 or newer, no resumption, so the check runs on every connection.
//
//   auto source = TRY(spiffe::X509Source::make());
//   auto context = TRY(spiffe::mtls_server_context(source, spiffe::authorize_id(frontend)));
//   SSL* ssl = SSL_new(context.get());
//
// A context may be used on any thread; it keeps the source alive.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "spiffe/tls/authorizer.h"
#include "spiffe/workloadapi/source.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX
struct ssl_st;      // OpenSSL's SSL

namespace spiffe {

struct FreeSslContext {
  void operator()(ssl_ctx_st* context) const;
};
using SslContext = std::unique_ptr<ssl_ctx_st, FreeSslContext>;

// `alpn`: protocols in order of preference; none are negotiated when empty.
steeple::Result<SslContext> mtls_server_context(std::shared_ptr<X509Source> source,
                                                Authorizer authorizer,
                                                std::vector<std::string> alpn = {});
steeple::Result<SslContext> mtls_client_context(std::shared_ptr<X509Source> source,
                                                Authorizer authorizer,
                                                std::vector<std::string> alpn = {});
// The server shows its SVID; clients stay anonymous.
steeple::Result<SslContext> tls_server_context(std::shared_ptr<X509Source> source,
                                               std::vector<std::string> alpn = {});
// The client verifies the server's SVID and shows none.
steeple::Result<SslContext> tls_client_context(std::shared_ptr<X509Source> source,
                                               Authorizer authorizer,
                                               std::vector<std::string> alpn = {});

// The SPIFFE ID of the peer of an established connection; kNotFound when it showed no certificate.
steeple::Result<SpiffeId> peer_id(const ssl_st* ssl);

}  // namespace spiffe
