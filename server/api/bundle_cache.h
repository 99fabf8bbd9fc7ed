// SPDX-License-Identifier: Apache-2.0

// The server's view of its bundles in memory: read from the datastore, read again when a change
// event names one. Feeds the TLS endpoint (authorities of the own trust domain and of those that
// admin ids come from) and answers GetBundle without SQL. Any thread; `load` blocks.

#pragma once

#include <atomic>
#include <memory>
#include <set>

#include "lib/base/guarded.h"
#include "lib/base/watch.h"
#include "lib/jose/bundle.h"
#include "lib/telemetry/log.h"
#include "lib/tls/spiffe_policy.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

class BundleCache {
 public:
  // `watched`: the own trust domain and those of the admin ids. Subscribes to the datastore.
  BundleCache(const spiffe::TrustDomain& own, std::set<spiffe::TrustDomain> watched,
              Datastore& datastore, Logger log);
  BundleCache(const BundleCache&) = delete;
  BundleCache& operator=(const BundleCache&) = delete;

  // Reads all watched bundles. At start; afterwards changes arrive by themselves.
  Result<void> load();
  // Reads again if a read that was due failed.
  Result<void> catch_up() { return behind_ ? load() : Result<void>(); }

  // Null while the trust domain has no bundle.
  std::shared_ptr<const jose::Bundle> own() const { return own_bundle_.get(); }
  // Runs on the thread that read the change.
  Watch<jose::Bundle>::Subscription own_changed(Watch<jose::Bundle>::Callback callback) const {
    return own_bundle_.subscribe(std::move(callback));
  }
  std::shared_ptr<const Watch<tls::BundleSet>> authorities() const { return authorities_; }

 private:
  void changed(const ChangeBatch& batch);

  spiffe::TrustDomain own_;
  std::set<spiffe::TrustDomain> watched_;
  Datastore& datastore_;
  Logger log_;
  Watch<jose::Bundle> own_bundle_;
  std::shared_ptr<Watch<tls::BundleSet>> authorities_ = std::make_shared<Watch<tls::BundleSet>>();
  // Held while re-reading, so that an older read never overwrites a newer one.
  Guarded<int> reading_;
  std::atomic<bool> behind_ = false;
  std::unique_ptr<Datastore::Subscription> subscription_;  // last: gone first
};

}  // namespace steeple::server
