// SPDX-License-Identifier: Apache-2.0

#include "server/foreign_changes.h"

#include <utility>

namespace steeple::server {

// What the runs share; one at a time.
struct ForeignChanges::Work {
  Options options;
  Deps deps;
  SteadyTime full_at;

  void run() {
    CallCounter call(deps.metrics, deps.clock, "entry.cache.reload");
    Result<void> done = follow();
    call.done(done);
    if (!done.ok()) {
      LOG_ERROR(deps.log, "Failed to reload cache", {"error", done.error()});
    }
    if (deps.metrics.enabled()) {
      report();
    }
  }

  Result<void> follow() {
    TRY(deps.index.apply({}));  // what could not be read when it was due
    TRY(deps.bundles.catch_up());
    ChangeBatch news = TRY(deps.follower.poll());
    if (deps.clock.steady() >= full_at) {
      full_at = deps.clock.steady() + options.full_interval;
      news.everything = true;
    }
    if (news.everything) {
      LOG_INFO(deps.log, "Reading all entries and agents again");
    }
    if (!news.empty()) {
      LOG_DEBUG(deps.log, "Another process changed the database",
                {"entries", news.entry_ids.size()}, {"agents", news.node_ids.size()},
                {"bundles", news.bundles.size()});
      deps.datastore.announce(std::move(news));
    }
    return {};
  }

  void report() {
    IndexCounts counts = deps.index.counts();
    auto gauge = [this](std::string_view key, std::size_t value) {
      deps.metrics.gauge(key, static_cast<double>(value));
    };
    gauge("entry.entries_by_entryid_cache.count", counts.entries);
    gauge("entry.nodealiases_by_entryid_cache.count", counts.aliases);
    gauge("entry.nodealiases_by_selector_cache.count", counts.alias_selectors);
    gauge("entry.skipped_entry_event_ids.count", deps.follower.skipped_entry_events());
    gauge("node.agents_by_id_cache.count", counts.agents);
    gauge("node.agents_by_expiresat_cache.count", counts.agents);
    gauge("node.skipped_node_event_ids.count", deps.follower.skipped_node_events());
  }
};

ForeignChanges::ForeignChanges(Options options, Deps deps)
    : work_(
          std::make_shared<Work>(Work{options, deps, deps.clock.steady() + options.full_interval})),
      periodic_(deps.loop, deps.workers, options.interval, [work = work_] { work->run(); }) {
  if (deps.metrics.enabled()) {
    work_->report();
  }
}

}  // namespace steeple::server
