// SPDX-License-Identifier: Apache-2.0

// A trust bundle in all the forms that the agent hands out, made once when it arrives: parsed
// authorities for handshakes, concatenated DER and JWKS for the Workload API, keys for JWT-SVID
// validation. Immutable.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "lib/base/result.h"
#include "lib/crypto/public_key.h"
#include "lib/jose/bundle.h"
#include "lib/x509/verify.h"

namespace steeple::agent {

struct TrustBundle {
  // kInvalidArgument when an authority does not parse.
  static Result<std::shared_ptr<const TrustBundle>> make(jose::Bundle bundle);

  jose::Bundle bundle;
  x509::AuthoritiesPtr authorities;
  Bytes x509_der;    // concatenated, as X509SVID.bundle
  std::string jwks;  // JWTBundlesResponse's value
  std::map<std::string, std::shared_ptr<const crypto::PublicKey>, std::less<>> jwt_keys;
};
using TrustBundlePtr = std::shared_ptr<const TrustBundle>;
using TrustBundles = std::map<spiffe::TrustDomain, TrustBundlePtr>;

}  // namespace steeple::agent
