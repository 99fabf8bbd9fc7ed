// SPDX-License-Identifier: Apache-2.0

#include "server/pruning.h"

namespace steeple::server {
namespace {

constexpr auto kRegistrationsInterval = std::chrono::minutes(5);
constexpr auto kNodesInterval = std::chrono::hours(1);
constexpr double kNodesJitter = 0.25;  // about hourly, +-15 minutes
constexpr auto kEventsInterval = std::chrono::hours(1);

void prune_registrations(const Pruning::Deps& deps) {
  std::int64_t now = to_unix_seconds(deps.clock.now());
  CallCounter call(deps.metrics, deps.clock, "registration_entry.manager.prune");
  auto entries = deps.datastore.prune_entries(now);
  call.done(entries);
  if (!entries.ok()) {
    LOG_ERROR(deps.log, "Failed pruning registration entries", {"error", entries.error()});
  } else {
    for (const Entry& entry : *entries) {
      LOG_INFO(deps.log, "Pruned an expired registration", {"entry_id", entry.id},
               {"spiffe_id", entry.spiffe_id.text()}, {"parent_id", entry.parent_id.text()});
    }
  }
  if (auto tokens = deps.datastore.prune_join_tokens(now); !tokens.ok()) {
    LOG_ERROR(deps.log, "Failed pruning join tokens", {"error", tokens.error()});
  }
}

void prune_nodes(const Pruning::Options& options, const Pruning::Deps& deps) {
  std::int64_t before = to_unix_seconds(deps.clock.now() - *options.nodes_expired_for);
  CallCounter call(deps.metrics, deps.clock, "node.manager.prune");
  auto pruned =
      deps.datastore.prune_nodes(before, options.nodes_non_reattestable, options.nodes_batch);
  call.done(pruned);
  if (!pruned.ok()) {
    LOG_ERROR(deps.log, "Failed pruning attested nodes", {"error", pruned.error()});
  } else if (*pruned > 0) {
    LOG_INFO(deps.log, "Pruned attested nodes", {"count", *pruned});
  }
}

}  // namespace

Pruning::Pruning(Options options, Deps deps)
    : registrations_(deps.loop, deps.workers, kRegistrationsInterval,
                     [deps] { prune_registrations(deps); }),
      events_(deps.loop, deps.workers, kEventsInterval, [deps, age = options.events_older_than] {
        auto pruned = deps.datastore.prune_events(to_unix_seconds(deps.clock.now() - age));
        if (!pruned.ok()) {
          LOG_ERROR(deps.log, "Failed pruning events", {"error", pruned.error()});
        }
      }) {
  if (options.nodes_expired_for) {
    nodes_ = std::make_unique<Periodic>(deps.loop, deps.workers,
                                        deps.random.jitter(kNodesInterval, kNodesJitter),
                                        [options, deps] { prune_nodes(options, deps); });
  }
}

}  // namespace steeple::server
