// SPDX-License-Identifier: Apache-2.0

#include "agent/cache/workload_update.h"

#include "workload.pb.h"

namespace steeple::agent {
namespace {

bool same_bundle(const TrustBundlePtr& a, const TrustBundlePtr& b) {
  return a == b || (a && b && a->bundle == b->bundle);
}

std::string text_of(ByteView bytes) { return std::string(bytes); }

}  // namespace

WorkloadUpdate::WorkloadUpdate(std::vector<EntryPtr> entries, std::vector<X509Identity> identities,
                               TrustBundlePtr own, std::vector<TrustBundlePtr> federated)
    : entries_(std::move(entries)),
      identities_(std::move(identities)),
      own_(std::move(own)),
      federated_(std::move(federated)) {}

const Bytes& WorkloadUpdate::x509_svid_response() const {
  if (!x509_svid_response_) {
    ::X509SVIDResponse response;
    for (const X509Identity& identity : identities_) {
      ::X509SVID* svid = response.add_svids();
      svid->set_spiffe_id(identity.entry->spiffe_id.text());
      svid->set_x509_svid(identity.svid->chain_der);
      svid->set_x509_svid_key(text_of(identity.svid->key_pkcs8.reveal()));
      svid->set_bundle(own_ ? own_->x509_der : Bytes());
      svid->set_hint(identity.entry->hint);
    }
    for (const TrustBundlePtr& bundle : federated_) {
      (*response.mutable_federated_bundles())[bundle->bundle.trust_domain.id_string()] =
          bundle->x509_der;
    }
    x509_svid_response_ = response.SerializeAsString();
    for (::X509SVID& svid : *response.mutable_svids()) {
      wipe(*svid.mutable_x509_svid_key());
    }
  }
  return *x509_svid_response_;
}

const Bytes& WorkloadUpdate::x509_bundles_response() const {
  if (!x509_bundles_response_) {
    ::X509BundlesResponse response;
    auto add = [&](const TrustBundlePtr& bundle) {
      (*response.mutable_bundles())[bundle->bundle.trust_domain.id_string()] = bundle->x509_der;
    };
    if (own_) {
      add(own_);
    }
    for (const TrustBundlePtr& bundle : federated_) {
      add(bundle);
    }
    x509_bundles_response_ = response.SerializeAsString();
  }
  return *x509_bundles_response_;
}

const Bytes& WorkloadUpdate::jwt_bundles_response() const {
  if (!jwt_bundles_response_) {
    ::JWTBundlesResponse response;
    auto add = [&](const TrustBundlePtr& bundle) {
      (*response.mutable_bundles())[bundle->bundle.trust_domain.id_string()] = bundle->jwks;
    };
    if (own_) {
      add(own_);
    }
    for (const TrustBundlePtr& bundle : federated_) {
      add(bundle);
    }
    jwt_bundles_response_ = response.SerializeAsString();
  }
  return *jwt_bundles_response_;
}

bool WorkloadUpdate::same_as(const WorkloadUpdate& other) const {
  if (identities_.size() != other.identities_.size() || entries_.size() != other.entries_.size() ||
      federated_.size() != other.federated_.size() || !same_bundle(own_, other.own_)) {
    return false;
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i] != other.entries_[i] && *entries_[i] != *other.entries_[i]) {
      return false;
    }
  }
  for (std::size_t i = 0; i < identities_.size(); ++i) {
    const X509Identity& mine = identities_[i];
    const X509Identity& theirs = other.identities_[i];
    if (mine.svid != theirs.svid || mine.entry->id != theirs.entry->id) {
      return false;
    }
  }
  for (std::size_t i = 0; i < federated_.size(); ++i) {
    if (!same_bundle(federated_[i], other.federated_[i])) {
      return false;
    }
  }
  return true;
}

}  // namespace steeple::agent
