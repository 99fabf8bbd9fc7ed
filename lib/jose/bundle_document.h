// SPDX-License-Identifier: Apache-2.0

// The SPIFFE trust bundle document (SPIFFE Trust Domain and Bundle, section 4): a JWK set with
// spiffe_sequence and spiffe_refresh_hint. Written as SPIRE writes it, read as go-spiffe reads it.
// Pure functions, any thread.

#pragma once

#include <string>
#include <string_view>

#include "lib/jose/bundle.h"
#include "lib/jose/jwk.h"

namespace steeple::jose {

struct DocumentOptions {
  JsonStyle style = JsonStyle::kIndented;
  bool x509_keys = true;
  bool jwt_keys = true;
  // Leaves out `use` and the spiffe_ fields: the plain JWKS of OIDC.
  bool plain_jwks = false;
};
// Tainted authorities are written like the others; JWT keys in order of their key ids. Fields that
// are zero are left out, as SPIRE does. kInternal when an authority does not parse.
Result<std::string> encode_bundle_document(const Bundle& bundle, const DocumentOptions& options);

// `keys` must be there, may be empty. Entries of unknown use or kty are ignored. An x509-svid entry
// has exactly one certificate, a jwt-svid entry a kid. Errors begin "spiffebundle: ".
Result<Bundle> parse_bundle_document(const spiffe::TrustDomain& domain, std::string_view json);

// The Workload API's JWTBundlesResponse value of one trust domain.
Result<std::string> encode_jwt_bundle(const Bundle& bundle);

}  // namespace steeple::jose
