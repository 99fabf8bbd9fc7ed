// SPDX-License-Identifier: Apache-2.0

// An X509-SVID: the identity, its chain and its private key. Immutable, cheap to copy, any thread.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/crypto/private_key.h"
#include "lib/x509/certificate.h"
#include "spiffe/spiffe_id.h"

namespace spiffe {

class X509Svid {
 public:
  // `chain`: DER certificates one after the other, leaf first; `key`: PKCS#8, DER. Checks that the
  // leaf is an SVID (X509-SVID section 4) and that the key is the leaf's.
  static steeple::Result<X509Svid> parse(steeple::ByteView chain, steeple::ByteView key,
                                         std::string hint = {});
  // The same from PEM texts, e.g. files of `api fetch -write`.
  static steeple::Result<X509Svid> parse_pem(std::string_view chain, std::string_view key);

  const SpiffeId& id() const { return id_; }
  // Leaf first.
  const std::vector<steeple::x509::CertificatePtr>& chain() const { return chain_; }
  const steeple::x509::Certificate& leaf() const { return *chain_.front(); }
  const std::shared_ptr<const steeple::crypto::PrivateKey>& key() const { return key_; }
  // Tells identities of one workload apart; may be empty.
  const std::string& hint() const { return hint_; }
  steeple::WallTime not_before() const { return leaf().not_before(); }
  steeple::WallTime not_after() const { return leaf().not_after(); }
  std::vector<steeple::Bytes> chain_der() const;

 private:
  X509Svid(SpiffeId id, std::vector<steeple::x509::CertificatePtr> chain,
           std::shared_ptr<const steeple::crypto::PrivateKey> key, std::string hint)
      : id_(std::move(id)),
        chain_(std::move(chain)),
        key_(std::move(key)),
        hint_(std::move(hint)) {}
  static steeple::Result<X509Svid> make(std::vector<steeple::x509::CertificatePtr> chain,
                                        std::shared_ptr<const steeple::crypto::PrivateKey> key,
                                        std::string hint);

  SpiffeId id_;
  std::vector<steeple::x509::CertificatePtr> chain_;
  std::shared_ptr<const steeple::crypto::PrivateKey> key_;
  std::string hint_;
};

}  // namespace spiffe
