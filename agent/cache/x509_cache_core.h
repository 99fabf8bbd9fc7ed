// SPDX-License-Identifier: Apache-2.0

// The inside of X509Cache. Records hold entries and SVIDs; workloads (one per set of selectors that
// somebody asked for) hold the matching records and the update made of them. Every change marks the
// workloads it concerns, and `flush` then rebuilds those and tells their subscribers.
//
// Wishes are kept in order: `timed_` holds records that need an SVID at a certain time whatever the
// room (awaited, outdated, past half-life), `spare_` those that would be nice to have.

#pragma once

#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "agent/cache/selector_table.h"
#include "agent/cache/x509_cache.h"

namespace steeple::agent {

struct X509Cache::Subscriber {
  std::string workload_key;
  Interest interest = Interest::kX509Svids;
  Handler handler;
  WorkloadUpdatePtr told;  // the last one handed over
  bool gone = false;
};

class X509Cache::Core {
 public:
  Core(Options options, Deps deps) : options_(std::move(options)), deps_(std::move(deps)) {}

  void set_bundles(TrustBundles bundles);
  void change_entries(const std::vector<EntryPtr>& added_or_changed,
                      const std::vector<std::string>& removed_ids);
  std::vector<SvidWish> take_wishes(std::size_t count);
  void set_svids(const std::vector<SignedSvid>& svids);
  void end_wishes(const std::vector<std::string>& entry_ids, bool refused);
  void taint(const std::set<Bytes>& subject_key_ids);

  bool has_wishes() const;
  bool has_awaited_wishes() const;
  std::optional<WallTime> next_wish_at() const;

  std::shared_ptr<Subscriber> subscribe(const std::vector<Selector>& selectors, Interest interest,
                                        Handler handler);
  void unsubscribe(const std::shared_ptr<Subscriber>& subscriber);
  WorkloadUpdatePtr latest(const Subscriber& subscriber);
  WorkloadUpdatePtr look(const std::vector<Selector>& selectors);

  const TrustBundles& bundles() const { return bundles_; }
  std::size_t svid_count() const { return svid_count_; }
  std::size_t outdated_now_ = 0;  // SVIDs that the update under way made outdated
  std::size_t entry_count() const { return records_.size(); }
  std::size_t subscriber_count() const { return subscriber_count_; }

 private:
  struct Record;
  using Order = std::tuple<WallTime, std::string_view>;  // when, entry id (lives in the entry)
  struct Record {
    EntryPtr entry;
    SelectorIds ids;
    X509SvidPtr svid;
    WallTime rotate_at{};
    WallTime retry_at{};  // not before, after a refusal
    int refusals = 0;
    std::size_t pins = 0;  // kX509Svids subscribers
    bool outdated = false;
    bool under_way = false;
    bool failed = false;  // the last request for it did
    std::optional<Order> timed_key, spare_key;
    bool late = false;
    bool in_unused = false;
    std::list<Record*>::iterator unused_at;
  };
  struct Workload {
    std::string key;
    SelectorIds ids;
    std::vector<Record*> matches;  // hints unique, in order of entry ids
    WorkloadUpdatePtr update;
    std::vector<std::shared_ptr<Subscriber>> subscribers;
    std::size_t pinning = 0;  // subscribers that pin
    bool match_again = true;
    bool build_again = true;
    bool marked = false;
    bool idle = false;
    std::list<Workload*>::iterator idle_at;
  };
  using WorkloadPtr = std::shared_ptr<Workload>;

  // Entries.
  void put_entry(const EntryPtr& entry);
  void change_entry(Record& record, const EntryPtr& entry);
  void remove_entry(const std::string& id);
  void log_entry(const char* what, const Entry& entry);
  bool has_late(const Entry& entry) const;
  void look_for_late(Record& record, bool late);
  void tell_late();
  // Wishes.
  void place(Record& record);
  void unplace(Record& record);
  bool missing(const Record& record) const;
  std::size_t room() const;
  void drop_svid(Record& record);
  void settle_unused(Record& record);
  void make_room();
  void announce_wishes();
  // Workloads.
  WorkloadPtr workload(const std::vector<Selector>& selectors);
  void mark(Workload* workload, bool match_again);
  void mark_matching(const SelectorIds& ids);
  void refresh(Workload& workload);
  void match(Workload& workload);
  void pin(Record& record, std::size_t by);
  void unpin(Record& record, std::size_t by);
  WorkloadUpdatePtr build(const Workload& workload) const;
  bool expired_identity(const Workload& workload) const;
  bool waits(const Workload& workload) const;
  void deliver(Workload& workload, Subscriber& subscriber);
  void flush();
  void rest(Workload& workload);
  void trim_idle();
  void report_sizes();

  WallTime now() const { return deps_.clock.now(); }

  Options options_;
  Deps deps_;
  TrustBundles bundles_;
  SelectorTable table_;
  std::map<std::string, std::unique_ptr<Record>> records_;
  std::vector<std::unique_ptr<Record>> buried_;  // until the workloads have let go
  SubsetIndex<Record*> by_entry_;
  std::map<Order, Record*> timed_, spare_;
  std::list<Record*> unused_;  // have an SVID and no pin; least recently used first
  std::size_t late_entries_ = 0;
  std::optional<bool> late_told_;
  std::size_t svid_count_ = 0;
  std::size_t new_under_way_ = 0;  // will add to svid_count_
  std::unordered_map<std::string, WorkloadPtr> workloads_;
  SupersetIndex<Workload*> by_workload_;
  std::list<Workload*> idle_;  // least recently used first
  std::vector<Workload*> marked_;
  std::size_t subscriber_count_ = 0;
  bool flushing_ = false;
};

}  // namespace steeple::agent
