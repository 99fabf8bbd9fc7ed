// SPDX-License-Identifier: Apache-2.0

#include "spiffe/workloadapi/context.h"

#include <fmt/format.h>

#include <set>

#include "workload.pb.h"

namespace spiffe {

using steeple::invalid_argument;
using steeple::Result;

Result<X509Context> x509_context_from(const X509SVIDResponse& response) {
  X509Context context;
  std::set<std::string> hints;
  for (const auto& proto : response.svids()) {
    // Of equal hints only the first counts (Workload API section 5.2.3).
    if (!proto.hint().empty() && !hints.insert(proto.hint()).second) {
      continue;
    }
    auto svid = TRY(X509Svid::parse(proto.x509_svid(), proto.x509_svid_key(), proto.hint()));
    if (svid.id().text() != proto.spiffe_id()) {
      return invalid_argument(
          fmt::format("the SVID of \"{}\" is for \"{}\"", proto.spiffe_id(), svid.id().text()));
    }
    context.bundles.put(TRY(Bundle::from_x509(svid.id().trust_domain(), proto.bundle())));
    context.svids.push_back(std::move(svid));
  }
  if (context.svids.empty()) {
    return invalid_argument("no SVIDs in response");
  }
  for (const auto& [name, der] : response.federated_bundles()) {
    auto domain = TRY(TrustDomain::parse(name));
    context.bundles.put(TRY(Bundle::from_x509(domain, der)));
  }
  return context;
}

Result<BundleSet> bundles_from(const X509BundlesResponse& response) {
  BundleSet set;
  for (const auto& [name, der] : response.bundles()) {
    auto domain = TRY(TrustDomain::parse(name));
    set.put(TRY(Bundle::from_x509(domain, der)));
  }
  return set;
}

Result<BundleSet> bundles_from(const JWTBundlesResponse& response) {
  BundleSet set;
  for (const auto& [name, document] : response.bundles()) {
    auto domain = TRY(TrustDomain::parse(name));
    set.put(TRY(Bundle::from_jwks(domain, document)));
  }
  return set;
}

}  // namespace spiffe
