// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "lib/base/limits.h"
#include "lib/x509/verify.h"

namespace steeple::tls {
namespace {

// Of the peer's Certificate message. A chain of three ECDSA certificates is 2 KB.
constexpr long kPeerChainBytesMax = 64L << 10;

// TLS 1.2: forward secrecy and authenticated encryption only (RFC 9113 section 9.2.2).
constexpr const char* kCiphersTls12 = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr const char* kGroups = "X25519:P-256:P-384";

int x509_error_of(const Error& refusal) {
  switch (x509::refusal_of(refusal)) {
    case x509::Refusal::kExpired:
      return X509_V_ERR_CERT_HAS_EXPIRED;
    case x509::Refusal::kUnknownAuthority:
    case x509::Refusal::kNoBundle:
      return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    case x509::Refusal::kMalformed:
    case x509::Refusal::kNotSvid:
    case x509::Refusal::kConstraint:
    case x509::Refusal::kOther:
      break;
  }
  return X509_V_ERR_CERT_REJECTED;
}

Result<std::vector<Bytes>> presented_chain(X509_STORE_CTX* store) {
  const STACK_OF(X509)* presented = X509_STORE_CTX_get0_untrusted(store);
  int count = presented == nullptr ? 0 : sk_X509_num(presented);
  if (count <= 0 || static_cast<std::size_t>(count) > limits::kChainCertificatesMax) {
    return Error{Code::kDataLoss, fmt::format("peer presented {} certificates", count)};
  }
  std::vector<Bytes> chain;
  chain.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    X509* certificate = sk_X509_value(presented, i);
    int size = i2d_X509(certificate, nullptr);
    if (size <= 0 || static_cast<std::size_t>(size) > limits::kCertificateBytesMax) {
      return Error{Code::kDataLoss, fmt::format("certificate {} has {} bytes", i, size)};
    }
    Bytes der(static_cast<std::size_t>(size), '\0');
    auto* out = reinterpret_cast<unsigned char*>(der.data());
    i2d_X509(certificate, &out);
    chain.push_back(std::move(der));
  }
  return chain;
}

// OpenSSL calls this in place of its own chain verification, once, when a chain came. The error set
// here decides which alert the peer gets.
int verify_presented(X509_STORE_CTX* store, void* /*unused*/) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* check = ssl == nullptr ? nullptr : static_cast<PeerCheck*>(SSL_get_app_data(ssl));
  if (check == nullptr || check->policy == nullptr || !*check->policy) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  auto chain = presented_chain(store);
  if (!chain.ok()) {
    check->refusal = chain.error();
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  auto verdict = (*check->policy)(*chain);
  if (!verdict.ok()) {
    check->refusal = verdict.error();
    X509_STORE_CTX_set_error(store, x509_error_of(verdict.error()));
    return 0;
  }
  check->chain = std::move(chain).take();
  check->id = std::move(verdict).take();
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

Result<std::string> encode_alpn(const std::vector<std::string>& names) {
  std::string wire;
  for (const auto& name : names) {
    if (name.empty() || name.size() > 255) {
      return invalid_argument("an ALPN name has 1 to 255 bytes");
    }
    wire.push_back(static_cast<char>(name.size()));
    wire += name;
  }
  return wire;
}

const unsigned char* u8(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

int select_alpn(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                const unsigned char* offered, unsigned int offered_size, void* argument) {
  const auto& own = static_cast<const Context*>(argument)->alpn;
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size, u8(own), static_cast<unsigned>(own.size()),
                            offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

// The ALPN callback is not called for a client that offers nothing at all, so that is refused here,
// before we have signed anything.
int require_alpn(SSL* ssl, int* alert, void* /*argument*/) {
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data,
                                &size) != 1) {
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
  }
  return SSL_CLIENT_HELLO_SUCCESS;
}

Result<std::shared_ptr<Context>> common_context(const SSL_METHOD* method,
                                                const std::vector<std::string>& alpn) {
  auto context = std::make_shared<Context>();
  context->alpn = TRY(encode_alpn(alpn));
  ERR_clear_error();
  context->native.reset(SSL_CTX_new(method));
  SSL_CTX* native = context->native.get();
  if (native == nullptr) {
    return internal(take_ssl_error());
  }
  // NO_TICKET alone leaves TLS 1.3 tickets on, and a resumed session would skip verification.
  SSL_CTX_set_options(native, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                  SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(native, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(native, 1);  // a record costs one recv(2), not one for its head as well
  SSL_CTX_set_max_cert_list(native, kPeerChainBytesMax);
  SSL_CTX_set_cert_verify_callback(native, verify_presented, nullptr);
  if (SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_num_tickets(native, 0) != 1 || SSL_CTX_set1_groups_list(native, kGroups) != 1 ||
      SSL_CTX_set_cipher_list(native, kCiphersTls12) != 1) {
    return internal(take_ssl_error());
  }
  return context;
}

Result<SslPtr<X509>> read_certificate(const Bytes& der) {
  const unsigned char* at = u8(der);
  SslPtr<X509> certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!certificate || at != u8(der) + der.size()) {
    return invalid_argument(fmt::format("own certificate: {}", take_ssl_error()));
  }
  return certificate;
}

Result<void> use_identity(SSL_CTX* native, const Identity& identity) {
  if (identity.chain.empty() || !identity.key) {
    return failed_precondition("own identity has no certificate or no key");
  }
  ERR_clear_error();
  auto leaf = TRY(read_certificate(identity.chain.front()));
  // The key last: OpenSSL then checks that it is the certificate's.
  if (SSL_CTX_use_certificate(native, leaf.get()) != 1 ||
      SSL_CTX_use_PrivateKey(native, identity.key->evp()) != 1) {
    return failed_precondition(fmt::format("own identity: {}", take_ssl_error()));
  }
  for (std::size_t i = 1; i < identity.chain.size(); ++i) {
    auto intermediate = TRY(read_certificate(identity.chain[i]));
    if (SSL_CTX_add1_chain_cert(native, intermediate.get()) != 1) {
      return failed_precondition(fmt::format("own chain: {}", take_ssl_error()));
    }
  }
  return {};
}

std::string_view alert_text(int alert) {
  switch (alert) {
    case SSL_AD_CLOSE_NOTIFY:
      return "close notify";
    case SSL_AD_UNEXPECTED_MESSAGE:
      return "unexpected message";
    case SSL_AD_BAD_RECORD_MAC:
      return "bad record MAC";
    case SSL_AD_HANDSHAKE_FAILURE:
      return "handshake failure";
    case SSL_AD_BAD_CERTIFICATE:
      return "bad certificate";
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
      return "unsupported certificate";
    case SSL_AD_CERTIFICATE_REVOKED:
      return "revoked certificate";
    case SSL_AD_CERTIFICATE_EXPIRED:
      return "expired certificate";
    case SSL_AD_CERTIFICATE_UNKNOWN:
      return "unknown certificate";
    case SSL_AD_UNKNOWN_CA:
      return "unknown certificate authority";
    case SSL_AD_ACCESS_DENIED:
      return "access denied";
    case SSL_AD_DECRYPT_ERROR:
      return "error decrypting message";
    case SSL_AD_PROTOCOL_VERSION:
      return "protocol version not supported";
    case SSL_AD_NO_RENEGOTIATION:
      return "no renegotiation";
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return "no application protocol";
    case TLS13_AD_CERTIFICATE_REQUIRED:
      return "certificate required";
    default:
      return {};
  }
}

}  // namespace

std::string take_ssl_error() {
  unsigned long last = ERR_peek_last_error();
  ERR_clear_error();
  int reason = ERR_GET_REASON(last);
  if (ERR_GET_LIB(last) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
    int alert = reason - SSL_AD_REASON_OFFSET;
    auto text = alert_text(alert);
    return text.empty() ? fmt::format("remote error: tls: alert({})", alert)
                        : fmt::format("remote error: tls: {}", text);
  }
  const char* text = last == 0 ? nullptr : ERR_reason_error_string(last);
  return fmt::format("tls: {}", text == nullptr ? "unknown error" : text);
}

void attach(SSL* ssl, PeerCheck* check) { SSL_set_app_data(ssl, check); }

Result<ContextPtr> server_context(const ServerPolicy& policy, const Identity& identity) {
  auto context = TRY(common_context(TLS_server_method(), policy.alpn));
  SSL_CTX* native = context->native.get();
  TRY(use_identity(native, identity));
  int verify = SSL_VERIFY_NONE;
  if (policy.verify_client) {
    verify = SSL_VERIFY_PEER | (policy.require_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
  } else if (policy.require_client) {
    return invalid_argument("client certificates are required, but nothing verifies them");
  }
  SSL_CTX_set_verify(native, verify, nullptr);
  if (!context->alpn.empty()) {
    SSL_CTX_set_alpn_select_cb(native, select_alpn, context.get());
    SSL_CTX_set_client_hello_cb(native, require_alpn, nullptr);
  }
  return ContextPtr(std::move(context));
}

Result<ContextPtr> client_context(const ClientPolicy& policy, const Identity* identity) {
  if (!policy.verify_server) {
    return invalid_argument("nothing verifies the server's certificate");
  }
  auto context = TRY(common_context(TLS_client_method(), policy.alpn));
  SSL_CTX* native = context->native.get();
  if (identity != nullptr) {
    TRY(use_identity(native, *identity));
  }
  SSL_CTX_set_verify(native, SSL_VERIFY_PEER, nullptr);
  // 0 is success here, unlike everywhere else.
  if (!context->alpn.empty() &&
      SSL_CTX_set_alpn_protos(native, u8(context->alpn),
                              static_cast<unsigned>(context->alpn.size())) != 0) {
    return internal(take_ssl_error());
  }
  return ContextPtr(std::move(context));
}

namespace detail {
Result<std::shared_ptr<Context>> common_context(const SSL_METHOD* method,
                                                const std::vector<std::string>& alpn) {
  return tls::common_context(method, alpn);
}
Result<std::vector<Bytes>> presented_chain(X509_STORE_CTX* store) {
  return tls::presented_chain(store);
}
int x509_error_of(const Error& refusal) { return tls::x509_error_of(refusal); }
Result<SslPtr<X509>> read_certificate(const Bytes& der) { return tls::read_certificate(der); }
void select_alpn_from(SSL_CTX* native, const Context* context) {
  // OpenSSL wants a mutable argument and does not write to it.
  SSL_CTX_set_alpn_select_cb(native, select_alpn, const_cast<Context*>(context));
}
}  // namespace detail

Result<ContextPtr> ContextCache::server(const std::shared_ptr<const ServerPolicy>& policy,
                                        const std::shared_ptr<const Identity>& identity) {
  if (auto context = find(policy.get(), identity.get())) {
    return context;
  }
  auto context = TRY(server_context(*policy, *identity));
  keep({policy, identity, context});
  return context;
}

Result<ContextPtr> ContextCache::client(const std::shared_ptr<const ClientPolicy>& policy,
                                        const std::shared_ptr<const Identity>& identity) {
  if (auto context = find(policy.get(), identity.get())) {
    return context;
  }
  auto context = TRY(client_context(*policy, identity.get()));
  keep({policy, identity, context});
  return context;
}

ContextPtr ContextCache::find(const void* policy, const Identity* identity) {
  auto entries = entries_.lock();
  for (const auto& entry : *entries) {
    if (entry.policy.get() == policy && entry.identity.get() == identity) {
      return entry.context;
    }
  }
  return nullptr;
}

void ContextCache::keep(Entry entry) {
  Entry gone;  // freed after the lock
  auto entries = entries_.lock();
  for (auto& known : *entries) {
    if (known.policy == entry.policy) {
      gone = std::exchange(known, std::move(entry));
      return;
    }
  }
  if (entries->size() == kEntriesMax) {
    gone = std::move(entries->front());
    entries->erase(entries->begin());
  }
  entries->push_back(std::move(entry));
}

}  // namespace steeple::tls
