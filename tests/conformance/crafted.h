// SPDX-License-Identifier: Apache-2.0

// Certificates and tokens that our own code would never issue, made by OpenSSL: what a validator
// must refuse has to come from somewhere else. Tests only; one thread.

#pragma once

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/check.h"
#include "lib/base/clock.h"

namespace spiffe::conformance {

using steeple::Bytes;

inline const steeple::WallTime kNow = steeple::from_unix_seconds(1'893'456'000);

using Key = std::shared_ptr<EVP_PKEY>;

inline Key ec_key(const char* curve = "P-256") { return {EVP_EC_gen(curve), EVP_PKEY_free}; }
inline Key rsa_key() { return {EVP_RSA_gen(2048), EVP_PKEY_free}; }

inline Bytes pkcs8(const Key& key) {
  std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)> info(
      EVP_PKEY2PKCS8(key.get()), PKCS8_PRIV_KEY_INFO_free);
  unsigned char* out = nullptr;
  int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), &out);
  CHECK(size > 0);
  Bytes der(reinterpret_cast<char*>(out), static_cast<std::size_t>(size));
  OPENSSL_free(out);
  return der;
}

// Extensions are (NID, OpenSSL's configuration text), in this order.
using Extensions = std::vector<std::pair<int, std::string>>;

struct Crafted {
  Bytes der;
  Key key;
  std::shared_ptr<X509> certificate;
};

// Signed by `issuer`, or by itself.
inline Crafted craft(const Extensions& extensions, const char* common_name,
                     const Crafted* issuer = nullptr, Key key = ec_key()) {
  std::shared_ptr<X509> made(X509_new(), X509_free);
  CHECK(X509_set_version(made.get(), 2) == 1);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 7);
  ASN1_TIME_set(X509_getm_notBefore(made.get()), steeple::to_unix_seconds(kNow) - 60);
  ASN1_TIME_set(X509_getm_notAfter(made.get()), steeple::to_unix_seconds(kNow) + 3600);
  if (*common_name != '\0') {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(common_name), -1, -1, 0);
  }
  X509* parent = issuer == nullptr ? made.get() : issuer->certificate.get();
  X509_set_issuer_name(made.get(), X509_get_subject_name(parent));
  X509_set_pubkey(made.get(), key.get());
  for (const auto& [nid, text] : extensions) {
    X509V3_CTX context{};
    X509V3_set_ctx(&context, parent, made.get(), nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_nconf_nid(nullptr, &context, nid, text.c_str());
    CHECK(extension != nullptr);
    X509_add_ext(made.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  CHECK(X509_sign(made.get(), issuer == nullptr ? key.get() : issuer->key.get(), EVP_sha256()) > 0);
  unsigned char* out = nullptr;
  int size = i2d_X509(made.get(), &out);
  CHECK(size > 0);
  Bytes der(reinterpret_cast<char*>(out), static_cast<std::size_t>(size));
  OPENSSL_free(out);
  return {std::move(der), std::move(key), std::move(made)};
}

// A signing certificate as X509-SVID section 4 wants it.
inline Crafted craft_authority(const char* name = "authority") {
  return craft({{NID_basic_constraints, "critical,CA:TRUE"},
                {NID_key_usage, "critical,keyCertSign,cRLSign"},
                {NID_subject_alt_name, "URI:spiffe://example.org"}},
               name);
}

inline std::string base64(steeple::ByteView bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                             reinterpret_cast<const unsigned char*>(bytes.data()),
                             static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}
inline std::string base64url(steeple::ByteView bytes) {
  std::string out = base64(bytes);
  for (char& c : out) {
    c = c == '+' ? '-' : c == '/' ? '_' : c;
  }
  out.resize(out.find_last_not_of('=') + 1);
  return out;
}

inline Bytes number(const Key& key, const char* name, std::size_t width = 0) {
  BIGNUM* value = nullptr;
  CHECK(EVP_PKEY_get_bn_param(key.get(), name, &value) == 1);
  std::size_t size = std::max(width, static_cast<std::size_t>(BN_num_bytes(value)));
  Bytes out(size, '\0');
  BN_bn2binpad(value, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(size));
  BN_free(value);
  return out;
}

inline std::size_t coordinate_bytes(const Key& key) {
  return (static_cast<std::size_t>(EVP_PKEY_get_bits(key.get())) + 7) / 8;
}

// The members of a JWK that are the public key itself.
inline std::string jwk_members(const Key& key) {
  if (EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_RSA) {
    return R"("kty":"RSA","n":")" + base64url(number(key, "n")) + R"(","e":")" +
           base64url(number(key, "e")) + '"';
  }
  std::size_t width = coordinate_bytes(key);
  std::string curve = width == 32 ? "P-256" : width == 48 ? "P-384" : "P-521";
  return R"("kty":"EC","crv":")" + curve + R"(","x":")" + base64url(number(key, "qx", width)) +
         R"(","y":")" + base64url(number(key, "qy", width)) + '"';
}

// A JWS signature: raw r and s for EC keys (RFC 7518 section 3.4).
inline Bytes jws_signature(const Key& key, const EVP_MD* hash, bool pss, const std::string& text) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  EVP_PKEY_CTX* options = nullptr;
  CHECK(EVP_DigestSignInit(context.get(), &options, hash, nullptr, key.get()) == 1);
  if (pss) {
    CHECK(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1);
  }
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  CHECK(EVP_DigestSign(context.get(), nullptr, &size, data, text.size()) == 1);
  Bytes out(size, '\0');
  CHECK(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, data,
                       text.size()) == 1);
  out.resize(size);
  if (EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_RSA) {
    return out;
  }
  const auto* at = reinterpret_cast<const unsigned char*>(out.data());
  ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(out.size()));
  CHECK(pair != nullptr);
  std::size_t width = coordinate_bytes(key);
  Bytes raw(2 * width, '\0');
  auto* target = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(pair), target, static_cast<int>(width));
  BN_bn2binpad(ECDSA_SIG_get0_s(pair), target + width, static_cast<int>(width));
  ECDSA_SIG_free(pair);
  return raw;
}

inline std::string token(const Key& key, const std::string& header, const std::string& payload,
                         const EVP_MD* hash = EVP_sha256(), bool pss = false) {
  std::string text = base64url(header) + '.' + base64url(payload);
  return text + '.' + base64url(jws_signature(key, hash, pss, text));
}

}  // namespace spiffe::conformance
