// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/following_context.h"

#include <openssl/x509.h>

#include "lib/base/guarded.h"

namespace steeple::tls {
namespace {

// An identity in OpenSSL's form, made once per snapshot.
struct NativeIdentity {
  std::shared_ptr<const Identity> identity;
  SslPtr<X509> leaf;
  std::vector<SslPtr<X509>> intermediates;
};

Result<std::shared_ptr<const NativeIdentity>> make_native(
    std::shared_ptr<const Identity> identity) {
  if (identity->chain.empty() || !identity->key) {
    return failed_precondition("own identity has no certificate or no key");
  }
  auto native = std::make_shared<NativeIdentity>();
  native->leaf = TRY(detail::read_certificate(identity->chain.front()));
  for (std::size_t i = 1; i < identity->chain.size(); ++i) {
    native->intermediates.push_back(TRY(detail::read_certificate(identity->chain[i])));
  }
  native->identity = std::move(identity);
  return std::shared_ptr<const NativeIdentity>(std::move(native));
}

// What one context needs at each handshake; owned by the context through its ex data.
struct Following {
  std::shared_ptr<const void> policy;
  std::function<std::shared_ptr<const Identity>()> identity;
  VerifyPeer verify;
  bool identity_required = false;
  std::shared_ptr<Context> context;  // keeps the ALPN text alive; `native` was taken out
  Guarded<std::shared_ptr<const NativeIdentity>> cached;

  std::shared_ptr<const NativeIdentity> newest() {
    auto now = identity ? identity() : nullptr;
    if (!now) {
      return nullptr;
    }
    auto slot = cached.lock();
    if (!*slot || (*slot)->identity != now) {
      auto native = make_native(std::move(now));
      if (!native.ok()) {
        return nullptr;
      }
      *slot = std::move(*native);
    }
    return *slot;
  }
};

void free_following(void* /*parent*/, void* pointer, CRYPTO_EX_DATA* /*data*/, int /*index*/,
                    long /*argl*/, void* /*argp*/) {
  std::unique_ptr<Following> gone(static_cast<Following*>(pointer));
}

int following_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_following);
  return index;
}

Following* following_of(const SSL* ssl) {
  return static_cast<Following*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), following_index()));
}

// Called when our certificate is about to be chosen.
int present_newest(SSL* ssl, void* /*unused*/) {
  Following* following = following_of(ssl);
  auto native = following->newest();
  if (!native) {
    return following->identity_required ? 0 : 1;
  }
  if (SSL_clear_chain_certs(ssl) != 1 || SSL_use_certificate(ssl, native->leaf.get()) != 1 ||
      SSL_use_PrivateKey(ssl, native->identity->key->evp()) != 1) {
    return 0;
  }
  for (const auto& intermediate : native->intermediates) {
    if (SSL_add1_chain_cert(ssl, intermediate.get()) != 1) {
      return 0;
    }
  }
  return 1;
}

int verify_newest(X509_STORE_CTX* store, void* /*unused*/) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  Following* following = ssl == nullptr ? nullptr : following_of(ssl);
  if (following == nullptr || !following->verify) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  auto chain = detail::presented_chain(store);
  if (!chain.ok()) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  auto verdict = following->verify(*chain);
  X509_STORE_CTX_set_error(store,
                           verdict.ok() ? X509_V_OK : detail::x509_error_of(verdict.error()));
  return verdict.ok() ? 1 : 0;
}

Result<SslPtr<SSL_CTX>> finish(std::unique_ptr<Following> following,
                               std::shared_ptr<Context> context) {
  SslPtr<SSL_CTX> native = std::move(context->native);
  SSL_CTX_set_cert_cb(native.get(), present_newest, nullptr);
  SSL_CTX_set_cert_verify_callback(native.get(), verify_newest, nullptr);
  following->context = std::move(context);
  if (SSL_CTX_set_ex_data(native.get(), following_index(), following.get()) != 1) {
    return internal(take_ssl_error());
  }
  static_cast<void>(following.release());  // the context frees it
  return native;
}

}  // namespace

Result<SslPtr<SSL_CTX>> following_server_context(std::shared_ptr<const ServerPolicy> policy) {
  auto context = TRY(detail::common_context(TLS_server_method(), policy->alpn));
  SSL_CTX* native = context->native.get();
  if (policy->verify_client) {
    SSL_CTX_set_verify(
        native, SSL_VERIFY_PEER | (policy->require_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        nullptr);
  }
  if (!context->alpn.empty()) {
    detail::select_alpn_from(native, context.get());
  }
  auto following = std::make_unique<Following>();
  following->identity = policy->identity;
  following->verify = policy->verify_client;
  following->identity_required = true;
  following->policy = std::move(policy);
  return finish(std::move(following), std::move(context));
}

Result<SslPtr<SSL_CTX>> following_client_context(std::shared_ptr<const ClientPolicy> policy) {
  if (!policy->verify_server) {
    return invalid_argument("nothing verifies the server's certificate");
  }
  auto context = TRY(detail::common_context(TLS_client_method(), policy->alpn));
  SSL_CTX* native = context->native.get();
  SSL_CTX_set_verify(native, SSL_VERIFY_PEER, nullptr);
  if (!context->alpn.empty() &&
      SSL_CTX_set_alpn_protos(native, reinterpret_cast<const unsigned char*>(context->alpn.data()),
                              static_cast<unsigned>(context->alpn.size())) != 0) {
    return internal(take_ssl_error());
  }
  auto following = std::make_unique<Following>();
  following->identity = policy->identity;
  following->verify = policy->verify_server;
  following->policy = std::move(policy);
  return finish(std::move(following), std::move(context));
}

}  // namespace steeple::tls
