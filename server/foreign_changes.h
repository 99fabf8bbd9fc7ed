// SPDX-License-Identifier: Apache-2.0

// Looks now and then for what other processes wrote into the database (a second server, SPIRE on
// the same file), and tells the listeners of the datastore, so that index, bundles and agents hear
// of it as of our own changes. Also makes up for reads that failed after a change, and emits the
// gauges of the index. Own changes do not wait for it: they are told when they are committed.
//
// Lives on the loop, works on workers.

#pragma once

#include <chrono>
#include <memory>

#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "server/api/bundle_cache.h"
#include "server/ca/periodic.h"
#include "server/datastore/event_follower.h"
#include "server/registration/entry_index.h"

namespace steeple::server {

class ForeignChanges {
 public:
  struct Options {
    Duration interval = std::chrono::seconds(5);      // experimental.cache_reload_interval
    Duration full_interval = std::chrono::hours(24);  // experimental.full_cache_reload_interval
  };
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    Clock& clock;
    Datastore& datastore;
    EventFollower& follower;  // started before the index was loaded
    EntryIndex& index;
    BundleCache& bundles;
    Logger log;
    Metrics& metrics;
  };

  ForeignChanges(Options options, Deps deps);
  ForeignChanges(const ForeignChanges&) = delete;
  ForeignChanges& operator=(const ForeignChanges&) = delete;

 private:
  struct Work;
  std::shared_ptr<Work> work_;
  Periodic periodic_;
};

}  // namespace steeple::server
