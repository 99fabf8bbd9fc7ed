// SPDX-License-Identifier: Apache-2.0

#include "lib/sql/database.h"

#include <fmt/format.h>

#include <condition_variable>
#include <limits>
#include <utility>

#include "lib/base/check.h"
#include "lib/base/guarded.h"
#include "lib/sql/driver.h"

namespace steeple::sql {

// --- Rows ----------------------------------------------------------------------------------------

Result<bool> Rows::next() {
  TRY(ok());
  return statement_->step();
}

Result<void> Rows::ok() const {
  if (bad_column_ >= 0) {
    return Error{Code::kDataLoss, fmt::format("column {} of \"{}\" holds a value of the wrong type",
                                              bad_column_, std::string_view(sql_).substr(0, 80))};
  }
  return {};
}

std::int64_t Rows::integer(int column) {
  std::int64_t value = 0;
  if (!statement_->integer(column, value) && !statement_->is_null(column)) {
    bad_column_ = column;
  }
  return value;
}

std::string_view Rows::text(int column) {
  std::string_view value;
  if (!statement_->text(column, value) && !statement_->is_null(column)) {
    bad_column_ = column;
  }
  return value;
}

// --- the pool ------------------------------------------------------------------------------------

// One writer and some readers; a database in memory has one connection that is both.
class ConnectionPool final : public Database {
 public:
  ConnectionPool(std::unique_ptr<Connection> writer, Options options, std::string uri)
      : options_(std::move(options)),
        uri_(std::move(uri)),
        version_(writer->version()),
        stamp_(writer->stamp_source()),
        shared_(writer->in_memory()) {
    idle_.lock()->writer = std::move(writer);
  }
  ~ConnectionPool() override {
    auto idle = idle_.lock();
    CHECK(idle->writer != nullptr);  // no lease outlives its database
    CHECK(std::cmp_equal(idle->readers.size(), idle->readers_made));
  }

  Result<Lease> write() override { return lease_writer(true); }
  Result<Lease> read() override {
    if (shared_) {
      return lease_writer(false);
    }
    return lease_reader();
  }
  std::string version() const override { return version_; }
  std::optional<Stamp> stamp() override { return stamp_ ? stamp_() : std::nullopt; }

  void give_back(std::unique_ptr<Connection> connection, bool writer) {
    {
      auto idle = idle_.lock();
      if (writer) {
        idle->writer = std::move(connection);
      } else {
        idle->readers.push_back(std::move(connection));
      }
    }
    (writer ? writer_back_ : reader_back_).notify_one();
  }

 private:
  struct Idle {
    std::unique_ptr<Connection> writer;
    std::vector<std::unique_ptr<Connection>> readers;
    int readers_made = 0;
  };

  Result<Lease> lease_writer(bool writing);
  Result<Lease> lease_reader();
  Result<Lease> begin(std::unique_ptr<Connection> connection, bool from_writer, bool writing);

  Options options_;
  std::string uri_;
  std::string version_;
  StampSource stamp_;  // valid while the writer is open, and that is never closed
  bool shared_;
  Guarded<Idle> idle_;
  std::condition_variable writer_back_, reader_back_;
};

struct Lease::Held {
  ConnectionPool& pool;
  std::unique_ptr<Connection> connection;
  bool from_writer;
  bool writing;
  bool open = false;  // in a transaction

  Held(ConnectionPool& pool_in, std::unique_ptr<Connection> connection_in, bool from_writer_in,
       bool writing_in)
      : pool(pool_in),
        connection(std::move(connection_in)),
        from_writer(from_writer_in),
        writing(writing_in) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    if (open) {
      // Nothing to do about a failure: SQLite has then rolled back by itself.
      static_cast<void>(connection->execute("ROLLBACK").ok());
    }
    pool.give_back(std::move(connection), from_writer);
  }
};

Result<Lease> ConnectionPool::begin(std::unique_ptr<Connection> connection, bool from_writer,
                                    bool writing) {
  Lease lease(std::make_unique<Lease::Held>(*this, std::move(connection), from_writer, writing));
  Connection& held = *lease.held_->connection;
  TRY(lease.run_list(writing ? held.begin_writing() : held.begin_reading(), {}));
  lease.held_->open = true;
  return lease;
}

Result<Lease> ConnectionPool::lease_writer(bool writing) {
  std::unique_ptr<Connection> connection;
  {
    auto idle = idle_.lock();
    if (!writer_back_.wait_for(idle.mutex(), options_.busy_timeout,
                               [&idle] { return idle->writer != nullptr; })) {
      return unavailable("database is locked: timed out waiting for other writers");
    }
    connection = std::move(idle->writer);
  }
  return begin(std::move(connection), true, writing);
}

Result<Lease> ConnectionPool::lease_reader() {
  std::unique_ptr<Connection> connection;
  bool make = false;
  {
    auto idle = idle_.lock();
    if (idle->readers.empty() && idle->readers_made < options_.readers_max) {
      make = true;
      ++idle->readers_made;
    } else {
      if (!reader_back_.wait_for(idle.mutex(), options_.busy_timeout,
                                 [&idle] { return !idle->readers.empty(); })) {
        return unavailable("timed out waiting for a database connection");
      }
      connection = std::move(idle->readers.back());
      idle->readers.pop_back();
    }
  }
  if (make) {
    auto opened = open_sqlite(uri_, options_.busy_timeout);
    if (!opened.ok()) {
      --idle_.lock()->readers_made;
      return std::move(opened).error();
    }
    connection = std::move(opened).take();
  }
  return begin(std::move(connection), false, false);
}

// --- leases --------------------------------------------------------------------------------------

Lease::Lease(std::unique_ptr<Held> held) : held_(std::move(held)) {}
Lease::Lease(Lease&&) noexcept = default;
Lease::~Lease() = default;

Result<Rows> Lease::query_list(std::string_view sql, std::span<const Argument> arguments) {
  CHECK(held_ != nullptr);
  Statement* statement = TRY(held_->connection->prepare(sql));
  Rows rows(statement, sql);
  TRY(statement->bind(arguments));
  return rows;
}

Result<std::int64_t> Lease::run_list(std::string_view sql, std::span<const Argument> arguments) {
  auto rows = TRY(query_list(sql, arguments));
  CHECK(!TRY(rows.next()));
  return held_->connection->changed_rows();
}

Result<void> Lease::execute(std::string_view script) {
  CHECK(held_ != nullptr);
  return held_->connection->execute(script);
}

std::int64_t Lease::last_insert_id() const { return held_->connection->last_insert_id(); }

Result<void> Lease::begin_part() {
  TRY(run_list("SAVEPOINT part", {}));
  return {};
}

Result<void> Lease::keep_part() {
  TRY(run_list("RELEASE SAVEPOINT part", {}));
  return {};
}

Result<void> Lease::undo_part() {
  TRY(run_list("ROLLBACK TO SAVEPOINT part", {}));
  return keep_part();
}

Result<void> Lease::commit() {
  CHECK(held_ != nullptr && held_->writing && held_->open);
  TRY(run_list("COMMIT", {}));
  held_->open = false;
  held_.reset();
  return {};
}

// --- opening -------------------------------------------------------------------------------------

namespace {

// "unix/path?x=y" and "file:path?x=y" as sqlite3 takes them; other schemes are refused.
Result<std::string> sqlite_uri(std::string_view connection_string) {
  auto end = connection_string.find_first_of(":/?#");
  if (end == std::string_view::npos || connection_string[end] != ':') {
    return fmt::format("file:{}", connection_string);
  }
  auto scheme = connection_string.substr(0, end);
  if (scheme != "file") {
    return invalid_argument(fmt::format("unsupported scheme \"{}\"", scheme));
  }
  return std::string(connection_string);
}

Result<std::unique_ptr<Database>> open_pool(const Options& options, std::string uri) {
  auto writer = TRY(open_sqlite(uri, options.busy_timeout));
  return std::unique_ptr<Database>(
      std::make_unique<ConnectionPool>(std::move(writer), options, std::move(uri)));
}

}  // namespace

Result<std::unique_ptr<Database>> open_database(const Options& options) {
  if (options.database_type.empty()) {
    return invalid_argument("database_type must be set");
  }
  if (options.connection_string.empty()) {
    return invalid_argument("connection_string must be set");
  }
  for (std::string_view later : {"postgres", "mysql", "aws_postgres", "aws_mysql"}) {
    if (options.database_type == later) {
      return unimplemented(fmt::format("database_type \"{}\" is not built yet: only \"sqlite3\" is",
                                       options.database_type));
    }
  }
  if (options.database_type != "sqlite3") {
    return invalid_argument(fmt::format("unsupported database_type: {}", options.database_type));
  }
  return open_pool(options, TRY(sqlite_uri(options.connection_string)));
}

Result<std::unique_ptr<Database>> open_memory_database() { return open_pool({}, ":memory:"); }

}  // namespace steeple::sql
