// SPDX-License-Identifier: Apache-2.0

// Finds out what other processes changed in the database: a second server, or SPIRE on the same
// file. `poll` reads the event tables from where it stood and gives what others wrote; when nothing
// was written that costs two reads of a counter and the stamps of the bundles.
//
// Ids of event rows are given before the commit, so on a database with concurrent writers a lower
// id may become visible after a higher one. Ids that were passed over are asked for again until
// `event_timeout` has gone by, as SPIRE does. Where too many are missing, or the counter went back
// (a restored backup), nothing less than reading all anew is right: `everything`.
//
// What this process wrote is known from the datastore's own listeners and left out.
// `poll` on one thread at a time; the listener runs on any.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/guarded.h"
#include "lib/base/result.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

class EventFollower {
 public:
  static constexpr auto kEventTimeout = std::chrono::minutes(15);
  // Passed-over ids that are waited for, per table; more means to read everything.
  static constexpr std::size_t kSkippedMax = 1000;

  struct Deps {
    Datastore& datastore;
    Clock& clock;
  };

  // Stands at the present: what is read from the datastore after this misses nothing.
  static Result<std::unique_ptr<EventFollower>> start(Duration event_timeout, Deps deps);
  EventFollower(Duration event_timeout, Deps deps);  // for `start`
  EventFollower(const EventFollower&) = delete;
  EventFollower& operator=(const EventFollower&) = delete;

  // What others changed since the last call that did not fail. For Datastore::announce.
  Result<ChangeBatch> poll();

  std::size_t skipped_entry_events() const { return entries_.skipped.size(); }
  std::size_t skipped_node_events() const { return nodes_.skipped.size(); }

 private:
  struct Table {
    std::uint64_t last = 0;
    std::map<std::uint64_t, SteadyTime> skipped;  // until when it is waited for
  };
  struct Own {
    std::set<std::uint64_t> entry_events, node_events;
  };

  template <class Event>
  void look_back(Table& table, std::vector<Event> recent);
  template <class Reader>
  Result<void> follow(Table& table, std::set<std::uint64_t> Own::* own, std::uint64_t counter,
                      Reader reader);
  bool skip(Table& table, std::uint64_t from, std::uint64_t to);
  Result<void> follow_bundles();

  Duration event_timeout_;
  Deps deps_;
  Table entries_, nodes_;
  std::map<std::string, std::string> bundles_;
  ChangeBatch found_;  // kept when a poll fails in its middle
  Guarded<Own> own_;
  std::unique_ptr<Datastore::Subscription> subscription_;  // last: gone first
};

}  // namespace steeple::server
