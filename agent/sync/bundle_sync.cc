// SPDX-License-Identifier: Apache-2.0

#include "agent/sync/bundle_sync.h"

#include <deque>
#include <list>

namespace steeple::agent {

class BundleSync::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(ServerApi& server, bool own, const std::set<spiffe::TrustDomain>& federated,
       TrustBundles known, Logger log, Done done)
      : server_(server),
        own_(own),
        waiting_(federated.begin(), federated.end()),
        known_(std::move(known)),
        log_(std::move(log)),
        done_(std::move(done)) {}

  void start() {
    if (own_) {
      ++running_;
      calls_.push_back(server_.get_bundle([this](Result<jose::Bundle> bundle) {
        --running_;
        if (!bundle.ok()) {
          LOG_ERROR(log_, "Failed to fetch bundle", {"error", bundle.error()});
          finish(std::move(bundle.error()));
          return;
        }
        auto made = TrustBundle::make(std::move(*bundle));
        if (!made.ok()) {
          finish(std::move(made.error()).during("invalid trust domain bundle"));
          return;
        }
        take(std::move(*made));
        go_on();
      }));
    }
    go_on();
  }

 private:
  void go_on() {
    while (!waiting_.empty() && running_ < kFederatedBundleCallsMax && !over_) {
      spiffe::TrustDomain domain = std::move(waiting_.front());
      waiting_.pop_front();
      ++running_;
      calls_.push_back(
          server_.get_federated_bundle(domain, [this, domain](Result<jose::Bundle> bundle) {
            --running_;
            received(domain, std::move(bundle));
          }));
    }
    if (running_ == 0) {
      finish(std::move(out_));
    }
  }

  void received(const spiffe::TrustDomain& domain, Result<jose::Bundle> bundle) {
    if (!bundle.ok()) {
      if (bundle.error().code == Code::kNotFound) {
        LOG_WARN(log_, "Federated bundle not found", {"federated_bundle", domain.id_string()},
                 {"error", bundle.error()});
        go_on();
        return;
      }
      LOG_ERROR(log_, "Failed to fetch federated bundle", {"federated_bundle", domain.id_string()},
                {"error", bundle.error()});
      if (bundle.error().code == Code::kInvalidArgument) {
        keep_known(domain);
        go_on();
        return;
      }
      finish(std::move(bundle.error()));
      return;
    }
    auto made = TrustBundle::make(std::move(*bundle));
    if (!made.ok() || (*made)->bundle.trust_domain != domain) {
      LOG_WARN(log_,
               "Received malformed bundle from SPIRE server; are the server and agent versions "
               "compatible?",
               {"federated_bundle", domain.id_string()});
      keep_known(domain);
    } else {
      take(std::move(*made));
    }
    go_on();
  }

  // What we cannot read does not take away what we have.
  void keep_known(const spiffe::TrustDomain& domain) {
    auto known = known_.find(domain);
    if (known != known_.end()) {
      take(known->second);
    }
  }

  void take(TrustBundlePtr bundle) {
    out_.insert_or_assign(bundle->bundle.trust_domain, std::move(bundle));
  }

  void finish(Result<TrustBundles> result) {
    over_ = true;
    if (Done done = std::exchange(done_, nullptr)) {
      auto self = shared_from_this();
      done(std::move(result));
    }
  }

  ServerApi& server_;
  bool own_;
  std::deque<spiffe::TrustDomain> waiting_;
  TrustBundles known_;
  Logger log_;
  Done done_;
  std::size_t running_ = 0;
  bool over_ = false;
  TrustBundles out_;
  std::list<ServerApi::Handle> calls_;
};

BundleSync::BundleSync(ServerApi& server, bool own, std::set<spiffe::TrustDomain> federated,
                       TrustBundles known, Logger log, Done done)
    : core_(std::make_shared<Core>(server, own, std::move(federated), std::move(known),
                                   std::move(log), std::move(done))) {}

BundleSync::~BundleSync() = default;

void BundleSync::start() { core_->start(); }

}  // namespace steeple::agent
