// SPDX-License-Identifier: Apache-2.0

#include "agent/cache/workload_update.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>

#include "lib/base/check.h"
#include "workload.pb.h"

namespace steeple::agent {
namespace {

bool same_bundle(const TrustBundlePtr& a, const TrustBundlePtr& b) {
  return a == b || (a && b && a->bundle == b->bundle);
}

std::string text_of(ByteView bytes) { return std::string(bytes); }

// Maps in the order of their keys: the same content is the same bytes, so that a stream can tell
// news from repetition.
Bytes serialize(const google::protobuf::MessageLite& message) {
  Bytes out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  CHECK(message.SerializeToCodedStream(&coded));
  coded.Trim();
  return out;
}

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
    x509_svid_response_ = serialize(response);
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
    x509_bundles_response_ = serialize(response);
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
    jwt_bundles_response_ = serialize(response);
  }
  return *jwt_bundles_response_;
}

bool WorkloadUpdate::same_x509_svids_as(const WorkloadUpdate& other) const {
  auto same_identity = [](const X509Identity& a, const X509Identity& b) {
    return a.svid == b.svid && a.entry->id == b.entry->id && a.entry->hint == b.entry->hint &&
           a.entry->spiffe_id == b.entry->spiffe_id;
  };
  // Taints, JWT keys and sequence numbers are no part of the response.
  auto same_authorities = [](const TrustBundlePtr& a, const TrustBundlePtr& b) {
    return a == b || (a && b && a->bundle.trust_domain == b->bundle.trust_domain &&
                      a->x509_der == b->x509_der);
  };
  return entries_.empty() == other.entries_.empty() && same_authorities(own_, other.own_) &&
         std::ranges::equal(identities_, other.identities_, same_identity) &&
         std::ranges::equal(federated_, other.federated_, same_authorities);
}

bool WorkloadUpdate::same_as(const WorkloadUpdate& other) const {
  auto same_entry = [](const EntryPtr& a, const EntryPtr& b) { return a == b || *a == *b; };
  return same_x509_svids_as(other) && same_bundle(own_, other.own_) &&
         std::ranges::equal(federated_, other.federated_, same_bundle) &&
         std::ranges::equal(entries_, other.entries_, same_entry);
}

}  // namespace steeple::agent
