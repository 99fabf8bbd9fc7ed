// SPDX-License-Identifier: Apache-2.0

// X509Cache: workloads (sets of selectors), their matches and updates, and who is told when.

#include <algorithm>

#include "agent/cache/x509_cache_core.h"
#include "lib/base/check.h"

namespace steeple::agent {

X509Cache::Core::WorkloadPtr X509Cache::Core::workload(const std::vector<Selector>& selectors) {
  std::string key = SelectorTable::set_key(selectors);
  auto [slot, added] = workloads_.try_emplace(key);
  if (added) {
    slot->second = std::make_shared<Workload>();
    Workload& made = *slot->second;
    made.key = std::move(key);
    made.ids = table_.acquire(selectors);
    by_workload_.add(&made, made.ids);
  }
  if (slot->second->idle) {
    idle_.erase(slot->second->idle_at);
    slot->second->idle = false;
  }
  return slot->second;
}

// Without subscribers: kept ready for the next fetch, the least recently used ones go.
void X509Cache::Core::rest(Workload& workload) {
  if (!workload.subscribers.empty() || workload.idle) {
    return;
  }
  workload.idle = true;
  workload.idle_at = idle_.insert(idle_.end(), &workload);
  trim_idle();
}

void X509Cache::Core::trim_idle() {
  while (idle_.size() > kIdleWorkloadsMax) {
    Workload& oldest = *idle_.front();
    idle_.pop_front();
    by_workload_.remove(&oldest, oldest.ids);
    table_.release(oldest.ids);
    std::erase(marked_, &oldest);
    std::string key = oldest.key;
    workloads_.erase(key);
  }
}

void X509Cache::Core::mark(Workload* workload, bool match_again) {
  workload->build_again = true;
  workload->match_again |= match_again;
  if (workload->subscribers.empty()) {
    if (match_again) {
      workload->matches.clear();  // may point to what is about to go; nothing is pinned
    }
    return;  // rebuilt when somebody asks
  }
  if (!workload->marked) {
    workload->marked = true;
    marked_.push_back(workload);
  }
}

void X509Cache::Core::mark_matching(const SelectorIds& ids) {
  by_workload_.match(ids, [this](Workload* workload) { mark(workload, true); });
}

void X509Cache::Core::pin(Record& record, std::size_t by) {
  if (by == 0) {
    return;
  }
  record.pins += by;
  if (record.pins == by) {
    settle_unused(record);
    place(record);
  }
}

void X509Cache::Core::unpin(Record& record, std::size_t by) {
  if (by == 0) {
    return;
  }
  CHECK(record.pins >= by);
  record.pins -= by;
  if (record.pins == 0) {
    settle_unused(record);
    place(record);
  }
}

void X509Cache::Core::match(Workload& workload) {
  std::vector<EntryPtr> entries;
  std::map<std::string_view, Record*> found;
  by_entry_.match(workload.ids, [&](Record* record) { found.emplace(record->entry->id, record); });
  entries.reserve(found.size());
  for (const auto& [id, record] : found) {
    entries.push_back(record->entry);
  }
  std::vector<EntryPtr> dropped;
  entries = without_duplicate_hints(entries, &dropped);
  for (const EntryPtr& entry : dropped) {
    LOG_WARN(deps_.log, "Ignoring entry with duplicate hint", {"hint", entry->hint},
             {"entry_id", entry->id});
  }
  std::vector<Record*> matches;
  matches.reserve(entries.size());
  for (const EntryPtr& entry : entries) {
    matches.push_back(found.at(entry->id));
  }
  // Pin the new before unpinning the old, so that nothing looks unused in between.
  for (Record* record : matches) {
    pin(*record, workload.pinning);
  }
  for (Record* record : workload.matches) {
    record->pins -= workload.pinning;
    // A removed record waits in buried_, maybe with a namesake in its place: only its count
    // matters.
    auto live = records_.find(record->entry->id);
    if (live != records_.end() && live->second.get() == record && record->pins == 0 &&
        workload.pinning > 0) {
      settle_unused(*record);
      place(*record);
    }
  }
  workload.matches = std::move(matches);
  workload.match_again = false;
}

WorkloadUpdatePtr X509Cache::Core::build(const Workload& workload) const {
  std::vector<EntryPtr> entries;
  std::vector<X509Identity> identities;
  std::map<spiffe::TrustDomain, TrustBundlePtr> federated;
  entries.reserve(workload.matches.size());
  for (const Record* record : workload.matches) {
    entries.push_back(record->entry);
    if (!missing(*record)) {
      identities.push_back({record->entry, record->svid});
    }
    for (const spiffe::TrustDomain& domain : record->entry->federates_with) {
      auto bundle = bundles_.find(domain);
      if (bundle != bundles_.end() && domain != options_.trust_domain) {
        federated.emplace(domain, bundle->second);
      }
    }
  }
  std::vector<TrustBundlePtr> federated_list;
  federated_list.reserve(federated.size());
  for (auto& [domain, bundle] : federated) {
    federated_list.push_back(std::move(bundle));
  }
  auto own = bundles_.find(options_.trust_domain);
  return std::make_shared<const WorkloadUpdate>(std::move(entries), std::move(identities),
                                                own == bundles_.end() ? nullptr : own->second,
                                                std::move(federated_list));
}

bool X509Cache::Core::expired_identity(const Workload& workload) const {
  return workload.update &&
         std::any_of(
             workload.update->identities().begin(), workload.update->identities().end(),
             [this](const X509Identity& identity) { return identity.svid->not_after <= now(); });
}

// An SVID is still to come that a new subscriber should have from the start.
bool X509Cache::Core::waits(const Workload& workload) const {
  return std::any_of(workload.matches.begin(), workload.matches.end(),
                     [this](const Record* record) { return missing(*record) && !record->failed; });
}

// Brings matches and update up to date; an update that says the same stays the same object.
void X509Cache::Core::refresh(Workload& workload) {
  if (workload.match_again) {
    match(workload);
    workload.build_again = true;
  }
  if (workload.build_again || !workload.update || expired_identity(workload)) {
    WorkloadUpdatePtr update = build(workload);
    if (!workload.update || !update->same_as(*workload.update)) {
      workload.update = std::move(update);
    }
    workload.build_again = false;
  }
}

void X509Cache::Core::deliver(Workload& workload, Subscriber& subscriber) {
  const WorkloadUpdatePtr& update = workload.update;
  if (subscriber.gone || subscriber.told == update) {
    return;
  }
  if (subscriber.interest == Interest::kX509Svids && update->has_identity()) {
    if (update->identities().empty() || (!subscriber.told && waits(workload))) {
      return;
    }
    if (subscriber.told && update->same_x509_svids_as(*subscriber.told)) {
      subscriber.told = update;  // an entry whose SVID is still to come
      return;
    }
  }
  subscriber.told = update;
  WorkloadUpdatePtr held = update;
  Handler handler = subscriber.handler;  // it may unsubscribe itself
  handler(held);
}

void X509Cache::Core::flush() {
  if (flushing_) {
    return;  // the outer one goes on with what was marked meanwhile
  }
  flushing_ = true;
  while (!marked_.empty()) {
    std::vector<WorkloadPtr> round;
    round.reserve(marked_.size());
    for (Workload* workload : marked_) {
      workload->marked = false;
      round.push_back(workloads_.at(workload->key));
    }
    marked_.clear();
    for (const WorkloadPtr& workload : round) {
      refresh(*workload);
    }
    for (const WorkloadPtr& workload : round) {
      auto subscribers = workload->subscribers;
      for (const auto& subscriber : subscribers) {
        deliver(*workload, *subscriber);
      }
    }
  }
  flushing_ = false;
}

std::shared_ptr<X509Cache::Subscriber> X509Cache::Core::subscribe(
    const std::vector<Selector>& selectors, Interest interest, Handler handler) {
  WorkloadPtr workload = this->workload(selectors);
  auto subscriber = std::make_shared<Subscriber>();
  subscriber->workload_key = workload->key;
  subscriber->interest = interest;
  subscriber->handler = std::move(handler);
  refresh(*workload);
  workload->subscribers.push_back(subscriber);
  ++subscriber_count_;
  if (interest == Interest::kX509Svids) {
    ++workload->pinning;
    for (Record* record : workload->matches) {
      pin(*record, 1);
    }
    announce_wishes();
  }
  deliver(*workload, *subscriber);
  return subscriber;
}

void X509Cache::Core::unsubscribe(const std::shared_ptr<Subscriber>& subscriber) {
  if (std::exchange(subscriber->gone, true)) {
    return;
  }
  WorkloadPtr workload = workloads_.at(subscriber->workload_key);
  std::erase(workload->subscribers, subscriber);
  --subscriber_count_;
  if (subscriber->interest == Interest::kX509Svids) {
    if (workload->match_again) {
      match(*workload);  // pins must be taken from what they were put on
    }
    --workload->pinning;
    for (Record* record : workload->matches) {
      unpin(*record, 1);
    }
    if (!flushing_) {
      make_room();
    }
  }
  rest(*workload);
}

WorkloadUpdatePtr X509Cache::Core::latest(const Subscriber& subscriber) {
  WorkloadPtr workload = workloads_.at(subscriber.workload_key);
  refresh(*workload);
  return workload->update;
}

WorkloadUpdatePtr X509Cache::Core::look(const std::vector<Selector>& selectors) {
  WorkloadPtr workload = this->workload(selectors);
  refresh(*workload);
  WorkloadUpdatePtr update = workload->update;
  rest(*workload);
  return update;
}

}  // namespace steeple::agent
