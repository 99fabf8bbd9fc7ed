// SPDX-License-Identifier: Apache-2.0

// What a driver gives the facade: connections that prepare and step statements. Only lib/sql
// includes this. One thread at a time uses a connection.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/sql/database.h"

namespace steeple::sql {

// For Database::stamp; any thread, while its connection is open.
using StampSource = std::function<std::optional<Stamp>()>;

class Connection {
 public:
  virtual ~Connection() = default;
  // Cached by text: the same text gives the same statement, so a query inside a loop over the same
  // query is a bug (CHECK).
  virtual Result<Statement*> prepare(std::string_view sql) = 0;
  virtual Result<void> execute(std::string_view script) = 0;  // several statements, no arguments
  virtual std::int64_t last_insert_id() const = 0;
  virtual std::int64_t changed_rows() const = 0;
  virtual std::string version() const = 0;
  // True when each connection would see a database of its own.
  virtual bool in_memory() const = 0;
  // Empty when there are no stamps to be had.
  virtual StampSource stamp_source() { return {}; }

  virtual std::string_view begin_writing() const = 0;  // takes the writer's lock at once
  virtual std::string_view begin_reading() const = 0;
};

// lib/sql/sqlite.cc. `uri` as sqlite3_open_v2 takes it.
Result<std::unique_ptr<Connection>> open_sqlite(const std::string& uri,
                                                std::chrono::milliseconds busy_timeout);

}  // namespace steeple::sql
