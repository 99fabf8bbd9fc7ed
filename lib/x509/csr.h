// SPDX-License-Identifier: Apache-2.0

// Certificate signing requests (PKCS#10, RFC 2986). Reading is the server's hot path: one pass of
// the strict reader and one signature check. Writing is the agent's: the same bytes as Go's
// CreateCertificateRequest. Pure functions, any thread.

#pragma once

#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/crypto/private_key.h"
#include "lib/x509/name.h"

namespace steeple::x509 {

class CertificateRequest {
 public:
  // Structure only; the proof of possession is check_signature.
  static Result<CertificateRequest> parse(ByteView der);
  // kUnauthenticated when the request is not signed by the key in it.
  Result<void> check_signature() const;
  static Result<CertificateRequest> parse_and_verify(ByteView der);

  const crypto::PublicKey& public_key() const { return public_key_; }
  ByteView subject() const { return subject_; }  // raw Name element
  Result<Name> subject_name() const { return Name::parse(subject_); }
  const std::vector<std::string>& uri_sans() const { return uri_sans_; }
  const std::vector<std::string>& dns_sans() const { return dns_sans_; }

 private:
  explicit CertificateRequest(crypto::PublicKey key) : public_key_(std::move(key)) {}

  crypto::PublicKey public_key_;
  Bytes subject_, info_, signature_;
  crypto::SignatureAlgorithm algorithm_{};
  std::vector<std::string> uri_sans_, dns_sans_;
};

struct CsrOptions {
  Name subject = default_svid_subject();
  std::vector<std::string> uri_sans = {};
  std::vector<std::string> dns_sans = {};
};
Result<Bytes> build_csr(const crypto::Signer& key, const CsrOptions& options);

}  // namespace steeple::x509
