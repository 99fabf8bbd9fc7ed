// SPDX-License-Identifier: Apache-2.0

// What one answer of the Workload API says: all identities and all bundles of a workload at one
// moment. Immutable.

#pragma once

#include <vector>

#include "lib/base/result.h"
#include "spiffe/bundle/bundle.h"
#include "spiffe/svid/x509_svid.h"

class JWTBundlesResponse;
class X509BundlesResponse;
class X509SVIDResponse;

namespace spiffe {

struct X509Context {
  std::vector<X509Svid> svids;  // at least one; the first is the default identity
  BundleSet bundles;            // own and federated, X.509 authorities

  const X509Svid& default_svid() const { return svids.front(); }
};

// The messages of workload.proto, checked. Errors name what is wrong with the answer.
steeple::Result<X509Context> x509_context_from(const X509SVIDResponse& response);
steeple::Result<BundleSet> bundles_from(const X509BundlesResponse& response);
steeple::Result<BundleSet> bundles_from(const JWTBundlesResponse& response);

}  // namespace spiffe
