// SPDX-License-Identifier: Apache-2.0

#include "spiffe/tls/tls_context.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "lib/base/guarded.h"
#include "lib/tls/following_context.h"
#include "lib/x509/verify.h"

namespace spiffe {
namespace {

using steeple::Bytes;
using steeple::Result;
namespace tls = steeple::tls;

// The source's newest SVID as an identity; the same object for as long as the context is the same,
// so that what was built for it is reused.
class NewestIdentity {
 public:
  explicit NewestIdentity(std::shared_ptr<X509Source> source) : source_(std::move(source)) {}

  std::shared_ptr<const tls::Identity> get() {
    auto context = source_->context();
    auto cached = cached_.lock();
    if (cached->context != context) {
      auto svid = source_->svid();
      if (!svid.ok()) {
        return nullptr;
      }
      cached->identity = std::make_shared<const tls::Identity>(
          tls::Identity{.chain = svid->chain_der(), .key = svid->key()});
      cached->context = std::move(context);
    }
    return cached->identity;
  }

 private:
  struct Cached {
    std::shared_ptr<const X509Context> context;
    std::shared_ptr<const tls::Identity> identity;
  };
  std::shared_ptr<X509Source> source_;
  steeple::Guarded<Cached> cached_;
};

std::function<std::shared_ptr<const tls::Identity>()> newest_identity(
    const std::shared_ptr<X509Source>& source) {
  auto newest = std::make_shared<NewestIdentity>(source);
  return [newest] { return newest->get(); };
}

tls::VerifyPeer verify_with(std::shared_ptr<X509Source> source, Authorizer authorizer) {
  return [source = std::move(source), authorizer = std::move(authorizer)](
             const std::vector<Bytes>& chain) -> Result<std::optional<SpiffeId>> {
    auto authorities = [&source](const TrustDomain& domain) -> steeple::x509::AuthoritiesPtr {
      auto bundle = source->bundle(domain);
      return bundle ? bundle->x509_authorities() : nullptr;
    };
    auto verified =
        TRY(steeple::x509::verify_svid(chain, authorities, steeple::system_clock().now()));
    TRY(authorizer(verified.id));
    return std::optional(std::move(verified.id));
  };
}

SslContext take(tls::SslPtr<SSL_CTX> context) { return SslContext(context.release()); }

}  // namespace

void FreeSslContext::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

Result<SslContext> mtls_server_context(std::shared_ptr<X509Source> source, Authorizer authorizer,
                                       std::vector<std::string> alpn) {
  auto policy = std::make_shared<tls::ServerPolicy>();
  policy->identity = newest_identity(source);
  policy->verify_client = verify_with(std::move(source), std::move(authorizer));
  policy->require_client = true;
  policy->alpn = std::move(alpn);
  return take(TRY(tls::following_server_context(std::move(policy))));
}

Result<SslContext> mtls_client_context(std::shared_ptr<X509Source> source, Authorizer authorizer,
                                       std::vector<std::string> alpn) {
  auto policy = std::make_shared<tls::ClientPolicy>();
  policy->identity = newest_identity(source);
  policy->verify_server = verify_with(std::move(source), std::move(authorizer));
  policy->alpn = std::move(alpn);
  return take(TRY(tls::following_client_context(std::move(policy))));
}

Result<SslContext> tls_server_context(std::shared_ptr<X509Source> source,
                                      std::vector<std::string> alpn) {
  auto policy = std::make_shared<tls::ServerPolicy>();
  policy->identity = newest_identity(source);
  policy->alpn = std::move(alpn);
  return take(TRY(tls::following_server_context(std::move(policy))));
}

Result<SslContext> tls_client_context(std::shared_ptr<X509Source> source, Authorizer authorizer,
                                      std::vector<std::string> alpn) {
  auto policy = std::make_shared<tls::ClientPolicy>();
  policy->verify_server = verify_with(std::move(source), std::move(authorizer));
  policy->alpn = std::move(alpn);
  return take(TRY(tls::following_client_context(std::move(policy))));
}

Result<SpiffeId> peer_id(const ssl_st* ssl) {
  const X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr) {
    return steeple::not_found("the peer showed no certificate");
  }
  int size = i2d_X509(certificate, nullptr);
  if (size <= 0) {
    return steeple::internal("cannot encode the peer's certificate");
  }
  Bytes der(static_cast<std::size_t>(size), '\0');
  auto* out = reinterpret_cast<unsigned char*>(der.data());
  i2d_X509(certificate, &out);
  return steeple::x509::id_from_certificate(*TRY(steeple::x509::Certificate::parse(der)));
}

}  // namespace spiffe
