// SPDX-License-Identifier: Apache-2.0

// All that one workload is entitled to at one moment: identities in their default order, the own
// bundle, the federated ones. Published whole and shared by all workloads with the same selectors;
// the Workload API's answers are serialised once, on first use, so that a fetch copies bytes.
// On the loop.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/cache/entry.h"
#include "agent/cache/trust_bundle.h"
#include "lib/base/clock.h"
#include "lib/base/secret_bytes.h"

namespace steeple::agent {

struct X509Svid {
  Bytes chain_der;  // leaf first, concatenated
  SecretBytes key_pkcs8;
  WallTime not_before{};
  WallTime not_after{};
  std::vector<Bytes> authority_key_ids;  // of the chain's certificates: who signed them
};
using X509SvidPtr = std::shared_ptr<const X509Svid>;

struct X509Identity {
  EntryPtr entry;
  X509SvidPtr svid;
};

class WorkloadUpdate {
 public:
  WorkloadUpdate(std::vector<EntryPtr> entries, std::vector<X509Identity> identities,
                 TrustBundlePtr own, std::vector<TrustBundlePtr> federated);
  WorkloadUpdate(const WorkloadUpdate&) = delete;
  WorkloadUpdate& operator=(const WorkloadUpdate&) = delete;

  // Matching entries, hints unique, in order of ids: the first is the default identity.
  const std::vector<EntryPtr>& entries() const { return entries_; }
  // Those of them that have a valid SVID.
  const std::vector<X509Identity>& identities() const { return identities_; }
  const TrustBundlePtr& own_bundle() const { return own_; }  // null before the first sync
  const std::vector<TrustBundlePtr>& federated_bundles() const { return federated_; }
  bool has_identity() const { return !entries_.empty(); }

  // Serialised X509SVIDResponse, X509BundlesResponse and JWTBundlesResponse. Bundles of other trust
  // domains go to callers with an identity only.
  const Bytes& x509_svid_response() const;
  const Bytes& x509_bundles_response() const;
  const Bytes& jwt_bundles_response() const;

  // Would say the same in every response, or in x509_svid_response.
  bool same_as(const WorkloadUpdate& other) const;
  bool same_x509_svids_as(const WorkloadUpdate& other) const;

 private:
  std::vector<EntryPtr> entries_;
  std::vector<X509Identity> identities_;
  TrustBundlePtr own_;
  std::vector<TrustBundlePtr> federated_;
  mutable std::optional<Bytes> x509_svid_response_, x509_bundles_response_, jwt_bundles_response_;
};
using WorkloadUpdatePtr = std::shared_ptr<const WorkloadUpdate>;

}  // namespace steeple::agent
