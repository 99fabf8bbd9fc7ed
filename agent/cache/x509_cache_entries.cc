// SPDX-License-Identifier: Apache-2.0

// X509Cache: what comes in from sync (entries, bundles, SVIDs, taints) and the wishes that follow.

#include <algorithm>
#include <utility>

#include "agent/cache/x509_cache_core.h"
#include "lib/base/check.h"

namespace steeple::agent {

void X509Cache::Core::set_bundles(TrustBundles bundles) {
  // The own bundle authenticates the server: without a new one the old one stays.
  auto own = bundles_.find(options_.trust_domain);
  if (own != bundles_.end() && !bundles.contains(options_.trust_domain)) {
    bundles.emplace(own->first, own->second);
  }
  bool changed = false;
  for (const auto& [domain, old] : bundles_) {
    if (!bundles.contains(domain)) {
      LOG_DEBUG(deps_.log, "Bundle removed", {"trust_domain_id", domain.id_string()});
      changed = true;
    }
  }
  for (auto& [domain, bundle] : bundles) {
    auto old = bundles_.find(domain);
    if (old != bundles_.end() && old->second->bundle == bundle->bundle) {
      bundle = old->second;  // keeps updates comparable by pointer
      continue;
    }
    LOG_AT(deps_.log, LogLevel::kDebug, old == bundles_.end() ? "Bundle added" : "Bundle updated",
           {"trust_domain_id", domain.id_string()});
    changed = true;
  }
  if (!changed) {
    return;
  }
  bundles_ = std::move(bundles);
  for (auto& [key, workload] : workloads_) {
    workload->build_again = true;
  }
  // In the order of keys, so that a simulation replays.
  std::map<std::string_view, Workload*> ordered;
  for (auto& [key, workload] : workloads_) {
    if (!workload->subscribers.empty()) {
      ordered.emplace(key, workload.get());
    }
  }
  for (auto& [key, workload] : ordered) {
    mark(workload, false);
  }
  flush();
}

void X509Cache::Core::change_entries(const std::vector<EntryPtr>& added_or_changed,
                                     const std::vector<std::string>& removed_ids) {
  for (const std::string& id : removed_ids) {
    remove_entry(id);
  }
  for (const char* key :
       {"lru_cache_entry_add", "lru_cache_entry_update", "lru_cache_entry_remove"}) {
    deps_.metrics.count(key, 0, {});  // the series is there before the first one
  }
  outdated_now_ = 0;
  for (const EntryPtr& entry : added_or_changed) {
    put_entry(entry);
  }
  if (outdated_now_ > 0) {
    deps_.metrics.sample("cache_manager.outdated_svids", static_cast<double>(outdated_now_));
  }
  flush();
  buried_.clear();
  make_room();
  report_sizes();
  announce_wishes();
  tell_late();
}

void X509Cache::Core::look_for_late(Record& record, bool late) {
  if (std::exchange(record.late, late) != late) {
    late_entries_ = late ? late_entries_ + 1 : late_entries_ - 1;
  }
}

void X509Cache::Core::tell_late() {
  bool wanted = late_entries_ > 0;
  if (late_told_ != wanted && deps_.late_wanted) {
    late_told_ = wanted;
    deps_.late_wanted(wanted);
  }
}

void X509Cache::Core::log_entry(const char* what, const Entry& entry) {
  LOG_AT(deps_.log, LogLevel::kDebug, what, {"entry", entry.id},
         {"spiffe_id", entry.spiffe_id.text()});
}

bool X509Cache::Core::has_late(const Entry& entry) const {
  return options_.late != nullptr && std::ranges::any_of(entry.selectors, options_.late);
}

void X509Cache::Core::put_entry(const EntryPtr& entry) {
  CHECK(!entry->selectors.empty());
  auto [slot, added] = records_.try_emplace(entry->id);
  if (!added) {
    change_entry(*slot->second, entry);
    return;
  }
  slot->second = std::make_unique<Record>();
  Record& record = *slot->second;
  record.entry = entry;
  record.ids = table_.acquire(entry->selectors);
  look_for_late(record, has_late(*entry));
  by_entry_.add(&record, record.ids);
  mark_matching(record.ids);
  place(record);
  log_entry("Entry created", *entry);
  deps_.metrics.count("lru_cache_entry_add");
}

void X509Cache::Core::change_entry(Record& record, const EntryPtr& entry) {
  EntryPtr old = record.entry;
  unplace(record);
  mark_matching(record.ids);
  record.entry = entry;
  if (old->selectors != entry->selectors) {
    by_entry_.remove(&record, record.ids);
    SelectorIds ids = table_.acquire(entry->selectors);
    table_.release(record.ids);
    record.ids = std::move(ids);
    look_for_late(record, has_late(*entry));
    by_entry_.add(&record, record.ids);
    mark_matching(record.ids);
  }
  if (old->spiffe_id != entry->spiffe_id) {
    drop_svid(record);  // it names somebody else
  } else if (old->revision_number != entry->revision_number ||
             old->created_at != entry->created_at) {
    record.outdated = record.svid != nullptr;
    outdated_now_ += record.outdated ? 1 : 0;
  }
  // A new revision may be what the server refused the old one for.
  record.retry_at = {};
  record.refusals = 0;
  record.failed = false;
  place(record);
  log_entry("Entry updated", *entry);
  deps_.metrics.count("lru_cache_entry_update");
}

void X509Cache::Core::remove_entry(const std::string& id) {
  auto found = records_.find(id);
  if (found == records_.end()) {
    return;
  }
  Record& record = *found->second;
  log_entry("Entry removed", *record.entry);
  unplace(record);
  mark_matching(record.ids);
  by_entry_.remove(&record, record.ids);
  table_.release(record.ids);
  look_for_late(record, false);
  drop_svid(record);
  if (record.under_way && !record.svid) {
    --new_under_way_;
  }
  buried_.push_back(std::move(found->second));
  records_.erase(found);
  deps_.metrics.count("lru_cache_entry_remove");
}

bool X509Cache::Core::missing(const Record& record) const {
  return !record.svid || record.svid->not_after <= now();
}

void X509Cache::Core::unplace(Record& record) {
  if (record.timed_key) {
    timed_.erase(*std::exchange(record.timed_key, std::nullopt));
  }
  if (record.spare_key) {
    spare_.erase(*std::exchange(record.spare_key, std::nullopt));
  }
}

// Puts the record where its next wish belongs.
void X509Cache::Core::place(Record& record) {
  unplace(record);
  if (record.under_way) {
    return;
  }
  std::string_view id = record.entry->id;
  if (record.svid) {
    WallTime at = record.outdated ? WallTime() : record.rotate_at;
    record.timed_key = Order(std::max(at, record.retry_at), id);
    timed_.emplace(*record.timed_key, &record);
  } else if (record.pins > 0) {
    // Somebody waits: before all else.
    WallTime at = record.retry_at == WallTime() ? WallTime::min() : record.retry_at;
    record.timed_key = Order(at, id);
    timed_.emplace(*record.timed_key, &record);
  } else if (record.entry->prefetch) {
    record.spare_key = Order(record.retry_at, id);
    spare_.emplace(*record.spare_key, &record);
  }
}

std::size_t X509Cache::Core::room() const {
  std::size_t used = svid_count_ + new_under_way_;
  return used < options_.svids_max ? options_.svids_max - used : 0;
}

std::optional<WallTime> X509Cache::Core::next_wish_at() const {
  std::optional<WallTime> at;
  if (!timed_.empty()) {
    at = std::get<0>(timed_.begin()->first);
  }
  if (!spare_.empty() && room() > 0) {
    WallTime spare = std::get<0>(spare_.begin()->first);
    at = at ? std::min(*at, spare) : spare;
  }
  return at;
}

bool X509Cache::Core::has_wishes() const {
  auto at = next_wish_at();
  return at && *at <= now();
}

bool X509Cache::Core::has_awaited_wishes() const {
  for (const auto& [order, record] : timed_) {
    if (std::get<0>(order) > now()) {
      return false;
    }
    if (record->pins > 0 && missing(*record)) {
      return true;
    }
  }
  return false;
}

std::vector<SvidWish> X509Cache::Core::take_wishes(std::size_t count) {
  std::vector<SvidWish> out;
  std::size_t expiring = 0;
  auto take = [&](Record& record) {
    expiring += record.svid && !record.outdated ? 1 : 0;
    unplace(record);
    record.under_way = true;
    out.push_back({record.entry, record.svid ? std::optional(record.svid->not_after) : std::nullopt,
                   record.pins > 0 && missing(record)});
    if (!record.svid) {
      ++new_under_way_;
    }
  };
  while (out.size() < count && !timed_.empty() && std::get<0>(timed_.begin()->first) <= now()) {
    take(*timed_.begin()->second);
  }
  while (out.size() < count && room() > 0 && !spare_.empty() &&
         std::get<0>(spare_.begin()->first) <= now()) {
    take(*spare_.begin()->second);
  }
  if (expiring > 0) {
    deps_.metrics.sample("cache_manager.expiring_svids", static_cast<double>(expiring));
  }
  return out;
}

void X509Cache::Core::set_svids(const std::vector<SignedSvid>& svids) {
  for (const SignedSvid& svid : svids) {
    auto found = records_.find(svid.entry->id);
    if (found == records_.end()) {
      continue;
    }
    Record& record = *found->second;
    if (std::exchange(record.under_way, false) && !record.svid) {
      --new_under_way_;
    }
    record.retry_at = {};
    record.refusals = 0;
    record.failed = false;
    if (record.entry->spiffe_id == svid.entry->spiffe_id) {
      if (!record.svid) {
        ++svid_count_;
      }
      record.svid = svid.svid;
      record.rotate_at = rotation_time(options_.rotation, svid.svid->not_before,
                                       svid.svid->not_after, deps_.random);
      // The entry may have moved on while this one was being signed.
      record.outdated = record.entry->revision_number != svid.entry->revision_number ||
                        record.entry->created_at != svid.entry->created_at;
      settle_unused(record);
      log_entry("SVID updated", *record.entry);
    }
    place(record);
    by_workload_.match(record.ids, [this](Workload* workload) { mark(workload, false); });
  }
  flush();
  make_room();
  report_sizes();
  announce_wishes();
}

void X509Cache::Core::end_wishes(const std::vector<std::string>& entry_ids, bool refused) {
  for (const std::string& id : entry_ids) {
    auto found = records_.find(id);
    if (found == records_.end() || !found->second->under_way) {
      continue;
    }
    Record& record = *found->second;
    record.under_way = false;
    if (!record.svid) {
      --new_under_way_;
    }
    record.failed = true;
    if (refused) {
      Duration delay = kSvidRetryFirst * (1 << std::min(record.refusals++, 6));
      record.retry_at = now() + std::min<Duration>(delay, kSvidRetryMax);
    }
    place(record);
    // Whoever has other identities waits no longer.
    by_workload_.match(record.ids, [this](Workload* workload) { mark(workload, false); });
  }
  flush();
}

void X509Cache::Core::taint(const std::set<Bytes>& subject_key_ids) {
  std::size_t tainted = 0;
  for (auto& [id, record] : records_) {
    if (!record->svid) {
      continue;
    }
    const auto& signers = record->svid->authority_key_ids;
    if (std::any_of(signers.begin(), signers.end(),
                    [&](const Bytes& key_id) { return subject_key_ids.contains(key_id); })) {
      record->outdated = true;
      place(*record);
      ++tainted;
    }
  }
  if (tainted == 0) {
    LOG_DEBUG(deps_.log, "No SVID entries to process for tainted X.509 authorities");
    return;
  }
  LOG_DEBUG(deps_.log, "Scheduled rotation for SVID entries due to tainted X.509 authorities",
            {"count", tainted});
  LOG_INFO(deps_.log, "Tainted X.509 SVIDs", {"tainted_x509_svids", tainted});
  deps_.metrics.sample("cache_manager.tainted_x509_svids.workload", static_cast<double>(tainted));
  announce_wishes();
}

void X509Cache::Core::drop_svid(Record& record) {
  if (!record.svid) {
    return;
  }
  if (record.under_way) {
    ++new_under_way_;  // its replacement will now be an addition
  }
  record.svid = nullptr;
  record.outdated = false;
  --svid_count_;
  settle_unused(record);
}

// Keeps `unused_` equal to the records that have an SVID and no pin.
void X509Cache::Core::settle_unused(Record& record) {
  bool belongs = record.svid && record.pins == 0;
  if (belongs && !record.in_unused) {
    record.unused_at = unused_.insert(unused_.end(), &record);
  } else if (!belongs && record.in_unused) {
    unused_.erase(record.unused_at);
  }
  record.in_unused = belongs;
}

void X509Cache::Core::make_room() {
  while (svid_count_ > options_.svids_max && !unused_.empty()) {
    Record& record = *unused_.front();
    LOG_DEBUG(deps_.log, "Removing SVID record", {"record_id", record.entry->id});
    unplace(record);
    drop_svid(record);
    place(record);
    by_workload_.match(record.ids, [this](Workload* workload) { mark(workload, false); });
  }
  flush();
}

void X509Cache::Core::announce_wishes() {
  if (deps_.wished && has_wishes()) {
    deps_.wished();
  }
}

void X509Cache::Core::report_sizes() {
  if (deps_.metrics.enabled()) {
    deps_.metrics.gauge("lru_cache_record_map_size", static_cast<double>(records_.size()),
                        {{"svid_type", "X509"}});
    deps_.metrics.gauge("lru_cache_svid_map_size", static_cast<double>(svid_count_),
                        {{"svid_type", "X509"}});
  }
}

}  // namespace steeple::agent
