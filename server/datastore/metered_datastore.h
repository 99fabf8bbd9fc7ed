// SPDX-License-Identifier: Apache-2.0

// A datastore whose calls are counted under the reference's names (datastore_*, surface 6.2).

#pragma once

#include <memory>

#include "lib/base/clock.h"
#include "lib/telemetry/metrics.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

// `store` itself when nothing listens to the metrics. A batch counts each of its items, with an
// equal share of its time.
std::unique_ptr<Datastore> with_metrics(std::unique_ptr<Datastore> store, Metrics& metrics,
                                        Clock& clock);

}  // namespace steeple::server
