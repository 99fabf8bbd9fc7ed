// SPDX-License-Identifier: Apache-2.0

// SSL_CTX objects: everything that is the same for all handshakes of one policy with one identity.
// Built once per identity snapshot and cached, so that rotation costs one rebuild and a handshake
// none. Contexts are immutable after construction; the cache is thread safe.

#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/guarded.h"
#include "lib/base/result.h"
#include "lib/tls/handshake.h"

namespace steeple::tls {

struct FreeSsl {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};
template <class T>
using SslPtr = std::unique_ptr<T, FreeSsl>;

struct Context {
  SslPtr<SSL_CTX> native;
  std::string alpn;  // wire form: each name with its length before it
};
using ContextPtr = std::shared_ptr<const Context>;

Result<ContextPtr> server_context(const ServerPolicy& policy, const Identity& identity);
// `identity` null: no client certificate.
Result<ContextPtr> client_context(const ClientPolicy& policy, const Identity* identity);

// What the verification inside one handshake found; must outlive the handshake.
struct PeerCheck {
  const VerifyPeer* policy = nullptr;
  std::vector<Bytes> chain;  // as presented
  std::optional<spiffe::SpiffeId> id;
  std::optional<Error> refusal;
};
void attach(SSL* ssl, PeerCheck* check);

// For following_context.cc, which shares the settings and the rules but not the callbacks' owner.
namespace detail {
Result<std::shared_ptr<Context>> common_context(const SSL_METHOD* method,
                                                const std::vector<std::string>& alpn);
Result<std::vector<Bytes>> presented_chain(X509_STORE_CTX* store);
int x509_error_of(const Error& refusal);
Result<SslPtr<X509>> read_certificate(const Bytes& der);
void select_alpn_from(SSL_CTX* native, const Context* context);
}  // namespace detail

// Takes what OpenSSL queued for this thread. "remote error: tls: expired certificate" for an alert
// of the peer (the words are Go's, users know them), "tls: ..." for the rest.
std::string take_ssl_error();

class ContextCache {
 public:
  Result<ContextPtr> server(const std::shared_ptr<const ServerPolicy>& policy,
                            const std::shared_ptr<const Identity>& identity);
  Result<ContextPtr> client(const std::shared_ptr<const ClientPolicy>& policy,
                            const std::shared_ptr<const Identity>& identity);

 private:
  // Holds the policy and the identity, so that a new object never has an old one's address.
  struct Entry {
    std::shared_ptr<const void> policy;
    std::shared_ptr<const Identity> identity;
    ContextPtr context;
  };
  static constexpr std::size_t kEntriesMax = 16;  // a process has two or three policies

  ContextPtr find(const void* policy, const Identity* identity);
  void keep(Entry entry);

  Guarded<std::vector<Entry>> entries_;
};

}  // namespace steeple::tls
