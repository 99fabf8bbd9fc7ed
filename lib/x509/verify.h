// SPDX-License-Identifier: Apache-2.0

// Chain verification with SPIFFE's rules (X509-SVID sections 4 and 5) on RFC 5280 paths: names,
// key ids, signatures, validity, basic constraints, path length, key usage, name constraints. It
// looks for any path from the leaf to a root among the presented certificates, with a bound on the
// work. Texts are go-spiffe's and Go's, since users see them. Pure functions, any thread.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/x509/certificate.h"
#include "spiffe/spiffe_id.h"

namespace steeple::x509 {

// Why a chain was refused. It travels as the Error's code, which only these functions set so:
//   kMalformed kDataLoss, kNotSvid kInvalidArgument, kNoBundle kNotFound, kExpired kOutOfRange,
//   kUnknownAuthority kUnauthenticated, kConstraint kFailedPrecondition.
enum class Refusal : std::uint8_t {
  kMalformed,         // not certificates, or too many         -> TLS alert bad_certificate
  kNotSvid,           // no SPIFFE ID, or leaf is a CA         -> bad_certificate
  kNoBundle,          // no bundle for the trust domain        -> unknown_ca
  kExpired,           // leaf or CA expired or not yet valid   -> certificate_expired
  kUnknownAuthority,  // no path to a root, or a bad signature -> unknown_ca
  kConstraint,        // basic constraints, key usage, path length, name constraints,
                      // unknown critical extension            -> bad_certificate
  kOther,             // an error of somebody else (an authorizer's, say) -> access_denied
};
Refusal refusal_of(const Error& error);

// The X.509 authorities of one trust domain, parsed once.
using Authorities = std::vector<CertificatePtr>;
using AuthoritiesPtr = std::shared_ptr<const Authorities>;
// Null means that there is no bundle for that trust domain.
using AuthoritiesOf = std::function<AuthoritiesPtr(const spiffe::TrustDomain&)>;

struct VerifiedSvid {
  spiffe::SpiffeId id;
  CertificatePtr leaf;
  std::vector<CertificatePtr> path;  // leaf first, root last
};

// The SPIFFE ID of a certificate: exactly one URI SAN, well formed.
Result<spiffe::SpiffeId> id_from_certificate(const Certificate& certificate);

// DER chain as presented, leaf first, at most kChainCertificatesMax. Errors begin "x509svid: ".
Result<VerifiedSvid> verify_svid(const std::vector<Bytes>& chain, const AuthoritiesOf& authorities,
                                 WallTime now);
Result<VerifiedSvid> verify_svid(const std::vector<CertificatePtr>& chain,
                                 const AuthoritiesOf& authorities, WallTime now);

// Any certificate to any root (extended usages are not looked at), e.g. x509pop, upstream chains,
// "is it signed by a tainted authority". Gives the path, leaf first, root last. A certificate that
// is itself a root verifies.
Result<std::vector<CertificatePtr>> verify_chain(const CertificatePtr& leaf,
                                                 const std::vector<CertificatePtr>& intermediates,
                                                 const Authorities& roots, WallTime now);

}  // namespace steeple::x509
