// SPDX-License-Identifier: Apache-2.0

// The datastore on a SQL database, in SPIRE's schema (version 25): opened in place, migrated from
// 23, and written so that SPIRE opens it again.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/sql/database.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

struct DatastoreOptions {
  bool disable_migration = false;
  // Told of what an operator should know ("DB schema is ahead of code version, ..."). May be empty.
  std::function<void(std::string_view)> warn = {};
};

// `database` is shared: a simulation keeps it while the server that used it dies.
// Initialises an empty database, migrates versions 23 and 24, refuses what it cannot open.
Result<std::unique_ptr<Datastore>> open_sql_datastore(std::shared_ptr<sql::Database> database,
                                                      Clock& clock, Random& random,
                                                      const DatastoreOptions& options = {});

}  // namespace steeple::server
