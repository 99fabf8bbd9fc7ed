// SPDX-License-Identifier: Apache-2.0

#include "agent/cache/x509_cache.h"

#include "agent/cache/x509_cache_core.h"

namespace steeple::agent {

X509Cache::X509Cache(Options options, Deps deps)
    : core_(std::make_shared<Core>(std::move(options), std::move(deps))) {}

X509Cache::~X509Cache() = default;

void X509Cache::set_bundles(TrustBundles bundles) { core_->set_bundles(std::move(bundles)); }

void X509Cache::change_entries(const std::vector<EntryPtr>& added_or_changed,
                               const std::vector<std::string>& removed_ids) {
  core_->change_entries(added_or_changed, removed_ids);
}

std::vector<SvidWish> X509Cache::take_wishes(std::size_t count) {
  return core_->take_wishes(count);
}

void X509Cache::set_svids(const std::vector<SignedSvid>& svids) { core_->set_svids(svids); }

void X509Cache::refuse_wishes(const std::vector<std::string>& entry_ids) {
  core_->end_wishes(entry_ids, true);
}

void X509Cache::return_wishes(const std::vector<std::string>& entry_ids) {
  core_->end_wishes(entry_ids, false);
}

bool X509Cache::has_wishes() const { return core_->has_wishes(); }

bool X509Cache::has_awaited_wishes() const { return core_->has_awaited_wishes(); }

std::optional<WallTime> X509Cache::next_wish_at() const { return core_->next_wish_at(); }

void X509Cache::taint(const std::set<Bytes>& subject_key_ids) { core_->taint(subject_key_ids); }

X509Cache::Subscription X509Cache::subscribe(const std::vector<Selector>& selectors,
                                             Interest interest, Handler handler) {
  return Subscription(core_, core_->subscribe(selectors, interest, std::move(handler)));
}

WorkloadUpdatePtr X509Cache::look(const std::vector<Selector>& selectors) {
  return core_->look(selectors);
}

const TrustBundles& X509Cache::bundles() const { return core_->bundles(); }

std::size_t X509Cache::svid_count() const { return core_->svid_count(); }

std::size_t X509Cache::entry_count() const { return core_->entry_count(); }

std::size_t X509Cache::subscriber_count() const { return core_->subscriber_count(); }

X509Cache::Subscription& X509Cache::Subscription::operator=(Subscription&& other) noexcept {
  Subscription gone(std::move(core_), std::move(subscriber_));
  core_ = std::move(other.core_);
  subscriber_ = std::move(other.subscriber_);
  return *this;
}

X509Cache::Subscription::~Subscription() {
  if (subscriber_) {
    if (auto core = core_.lock()) {
      core->unsubscribe(subscriber_);
    }
  }
}

WorkloadUpdatePtr X509Cache::Subscription::latest() const {
  auto core = core_.lock();
  return core && subscriber_ ? core->latest(*subscriber_) : nullptr;
}

}  // namespace steeple::agent
