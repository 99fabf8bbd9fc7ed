// SPDX-License-Identifier: Apache-2.0

// What the server forgets with time: expired entries and join tokens every 5 minutes, agents about
// hourly when configured, rows of the event tables. Lives on the loop, works on workers.

#pragma once

#include <memory>
#include <optional>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "server/ca/periodic.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

class Pruning {
 public:
  struct Options {
    std::optional<Duration> nodes_expired_for;  // off when unset
    int nodes_batch = 1000;
    bool nodes_non_reattestable = false;
    Duration events_older_than = std::chrono::hours(12);
  };
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    Clock& clock;
    Random& random;
    Datastore& datastore;
    Logger log;
    Metrics& metrics;
  };

  Pruning(Options options, Deps deps);

 private:
  Periodic registrations_;
  Periodic events_;
  std::unique_ptr<Periodic> nodes_;
};

}  // namespace steeple::server
