// SPDX-License-Identifier: Apache-2.0

// What the Workload API gave, as the content of files. Pure; any thread.

#pragma once

#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/base/secret_bytes.h"
#include "spiffe/svid/jwt_svid.h"
#include "spiffe/workloadapi/context.h"

namespace steeple::helper {

struct X509Options {
  bool add_intermediates_to_bundle = false;
  bool include_federated_domains = false;
  bool omit_expired = false;  // of the bundle; an SVID is always written whole
  std::string hint = {};      // empty: the default identity
};

struct X509Pem {
  SecretBytes svid;    // leaf first
  SecretBytes key;     // PKCS#8
  SecretBytes bundle;  // own authorities, then what the options add
};
Result<X509Pem> render_x509(const spiffe::X509Context& context, const X509Options& options,
                            WallTime now);

// {"example.org":"<base64 of its JWK set>",...}
std::string render_jwt_bundles(const spiffe::BundleSet& bundles);

// The one with the hint; the first when that is empty.
Result<spiffe::JwtSvid> pick_jwt(const std::vector<spiffe::JwtSvid>& svids,
                                 const std::string& hint);

}  // namespace steeple::helper
