// SPDX-License-Identifier: Apache-2.0

// Issues certificates: DER assembled by hand in the form SPIRE gives them (Go's CreateCertificate:
// version, algorithm, names and extensions in its order), then signed. What all certificates of one
// CA share is encoded once in Issuer, so an SVID costs its signature and a few microseconds.
// Issuer is immutable; any thread.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/crypto/private_key.h"
#include "lib/x509/certificate.h"
#include "lib/x509/name.h"
#include "spiffe/spiffe_id.h"

namespace steeple::x509 {

struct Validity {
  WallTime not_before;
  WallTime not_after;
};
inline constexpr auto kNotBeforeCushion = std::chrono::seconds(10);
// now - 10 s to now + ttl, not past `cap`; whole seconds (fractions are cut off, as in DER).
Validity capped_validity(WallTime now, Duration ttl, WallTime cap);
Validity validity(WallTime now, Duration ttl);

// A random serial number of 128 bits, never zero: magnitude, big-endian, no leading zero byte.
Bytes random_serial(Random& random);

struct CaOptions {
  spiffe::SpiffeId id;  // the trust domain's: no path
  Bytes subject;        // Name::encode()
  Bytes serial;         // random_serial()
  Validity validity;
};
// The subject of a CA: `configured` (or default_ca_subject() when empty), whose serialNumber
// attribute becomes the certificate's serial in decimal unless it is set.
Name ca_subject(const Name& configured, ByteView serial);
// The subject of a downstream CA: the parent's with OU "DOWNSTREAM-<chain length>".
Result<Name> downstream_ca_subject(const Certificate& parent, std::size_t chain_length);

Result<Bytes> build_self_signed_ca(const CaOptions& options, const crypto::Signer& key);
// For an upstream authority: subject and the trust domain's URI SAN.
Result<Bytes> build_ca_csr(const spiffe::TrustDomain& domain, const Name& subject,
                           const crypto::Signer& key);

struct SvidOptions {
  const spiffe::SpiffeId& id;
  const crypto::PublicKey& public_key;
  const Bytes& subject;  // svid_subject()
  Bytes serial;          // random_serial()
  Validity validity;
  std::span<const std::string> dns_names = {};  // ASCII; become DNS SANs in this order
};
// The encoded subject of an X509-SVID: `base` (default_svid_subject() when empty), with the first
// DNS name as common name. Encode once per entry or config.
Result<Bytes> svid_subject(const Name& base, const std::vector<std::string>& dns_names);

class Issuer {
 public:
  // kInvalidArgument when the key is not the certificate's or it is no CA.
  static Result<std::shared_ptr<const Issuer>> make(CertificatePtr certificate,
                                                    std::shared_ptr<const crypto::Signer> key);

  const CertificatePtr& certificate() const { return certificate_; }

  // Leaf for workloads, agents and the server (they differ in id and validity only).
  Result<Bytes> issue_svid(const SvidOptions& options) const;
  // For a downstream server, or as an upstream authority.
  Result<Bytes> issue_ca(const CaOptions& options, const crypto::PublicKey& public_key) const;

 private:
  Issuer() = default;

  CertificatePtr certificate_;
  std::shared_ptr<const crypto::Signer> key_;
  crypto::SignatureAlgorithm algorithm_{};
  Bytes algorithm_and_issuer_;  // AlgorithmIdentifier, Name
  Bytes svid_extensions_head_;  // KU, EKU, basic constraints, ready made
  Bytes authority_key_id_;      // the extension; empty when the CA has no SKI
};

// What SPIRE checks on every certificate before it leaves or is used; texts are its own
// ("invalid X509-SVID: missing URI SAN"). The key must be the one that was asked for.
Result<void> validate_issued_svid(const Certificate& svid, const spiffe::SpiffeId& id,
                                  const crypto::PublicKey& public_key, WallTime now);
// Also for what an upstream authority gave us.
Result<void> validate_issued_ca(const Certificate& ca, const spiffe::TrustDomain& domain,
                                const crypto::PublicKey& public_key, WallTime now);

}  // namespace steeple::x509
