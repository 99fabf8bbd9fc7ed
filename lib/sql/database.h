// SPDX-License-Identifier: Apache-2.0

// One facade over SQL databases. Statements are written once, with `?` for each argument; a driver
// translates. A Database has one writing connection and a few readers, each with its cache of
// prepared statements; a lease hands one out to one thread at a time.
//
//   auto write = TRY(database.write());
//   TRY(write.run("INSERT INTO t (a, b) VALUES (?, ?)", 7, "x"));
//   TRY(write.commit());                        // without it the lease rolls back when it dies
//
//   auto read = TRY(database.read());
//   auto rows = TRY(read.query("SELECT a, b FROM t WHERE b = ?", "x"));
//   while (TRY(rows.next())) { use(rows.integer(0), rows.text(1)); }
//
// Threads: a Database is thread safe; leases, Rows and what they give belong to one thread.
// Errors: kAlreadyExists for a broken unique, key or check constraint, kUnavailable when the
// database is busy or out of reach, kDataLoss when it is damaged, kInternal otherwise.

#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/sql/stamp.h"

namespace steeple::sql {

struct Blob {
  ByteView bytes;  // borrowed
};
struct Null {};
// An argument, borrowed for the call.
using Argument = std::variant<Null, std::int64_t, std::string_view, Blob>;

inline Argument to_argument(Null value) { return value; }
inline Argument to_argument(Blob value) { return value; }
inline Argument to_argument(const Argument& value) { return value; }
template <std::integral T>
Argument to_argument(T value) {  // bool is 0 or 1
  static_assert(sizeof(T) < sizeof(std::int64_t) || std::is_signed_v<T>);
  return static_cast<std::int64_t>(value);
}
template <std::convertible_to<std::string_view> T>
Argument to_argument(const T& value) {
  return std::string_view(value);
}
template <class T>
Argument to_argument(const std::optional<T>& value) {
  return value ? to_argument(*value) : Argument(Null{});
}

// A prepared statement of a driver; nobody but the facade calls it. One thread at a time.
class Statement {
 public:
  virtual ~Statement() = default;
  virtual Result<void> bind(std::span<const Argument> arguments) = 0;
  virtual Result<bool> step() = 0;  // true: a row is there
  virtual void reset() = 0;         // ends the query, forgets the arguments
  virtual bool is_null(int column) const = 0;
  // False when the stored value is of another type.
  virtual bool integer(int column, std::int64_t& out) const = 0;
  // Text or bytes; valid until the next step or reset.
  virtual bool text(int column, std::string_view& out) const = 0;
};

// The rows of a query, one at a time. A value of the wrong type (another program wrote it) makes
// the accessor give zero or "" and the following next() fail; so does ok().
class Rows {
 public:
  Rows(Statement* statement, std::string_view sql) : statement_(statement), sql_(sql) {}
  Rows(Rows&& other) noexcept
      : statement_(std::exchange(other.statement_, nullptr)),
        sql_(std::move(other.sql_)),
        bad_column_(other.bad_column_) {}
  Rows& operator=(Rows&&) = delete;
  ~Rows() {
    if (statement_ != nullptr) {
      statement_->reset();
    }
  }

  Result<bool> next();
  // Fails if a value of the present row was of the wrong type.
  Result<void> ok() const;
  // For scans that report a bad row and go on.
  void forgive() { bad_column_ = -1; }

  bool is_null(int column) const { return statement_->is_null(column); }
  std::int64_t integer(int column);  // NULL gives 0
  bool boolean(int column) { return integer(column) != 0; }
  std::string_view text(int column);  // NULL gives ""; valid until next()

 private:
  Statement* statement_;
  std::string sql_;
  int bad_column_ = -1;
};

// A connection in a transaction, for one thread. Reads see one snapshot; the writing lease sees
// its own writes.
class Lease {
 public:
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) = delete;
  ~Lease();  // rolls back what is not committed

  template <class... Args>
  Result<Rows> query(std::string_view sql, const Args&... args) {
    const std::array<Argument, sizeof...(Args)> list{to_argument(args)...};
    return query_list(sql, list);
  }
  // Runs a statement that gives no rows; the number of rows it changed.
  template <class... Args>
  Result<std::int64_t> run(std::string_view sql, const Args&... args) {
    const std::array<Argument, sizeof...(Args)> list{to_argument(args)...};
    return run_list(sql, list);
  }
  Result<Rows> query_list(std::string_view sql, std::span<const Argument> arguments);
  Result<std::int64_t> run_list(std::string_view sql, std::span<const Argument> arguments);
  Result<void> execute(std::string_view script);
  std::int64_t last_insert_id() const;

  // A part that can be undone alone: begin, then keep or undo.
  Result<void> begin_part();
  Result<void> keep_part();
  Result<void> undo_part();

  // Writing leases only. When it returns OK the changes are on disk. Gives the connection back.
  Result<void> commit();

 private:
  friend class ConnectionPool;
  struct Held;
  explicit Lease(std::unique_ptr<Held> held);
  std::unique_ptr<Held> held_;
};

struct Options {
  std::string database_type = "sqlite3";  // others are refused: not built
  std::string connection_string;          // SQLite: a path or a file: URI
  int readers_max = 4;
  std::chrono::milliseconds busy_timeout{10'000};
};

class Database {
 public:
  virtual ~Database() = default;
  // Waits for its turn; transactions of writers do not overlap. A thread that holds a lease must
  // not ask for another.
  virtual Result<Lease> write() = 0;
  virtual Result<Lease> read() = 0;
  virtual std::string version() const = 0;  // of the database engine
  // Two equal stamps: between them nothing was committed, by any connection of any process; what
  // was read after the first still holds. Costs no system call. Nothing: it cannot be told.
  virtual std::optional<Stamp> stamp() { return std::nullopt; }
};

// Opens or creates. SQLite: WAL, synchronous=FULL (an acknowledged commit survives a power cut),
// foreign keys on, mode 0600 for new files.
Result<std::unique_ptr<Database>> open_database(const Options& options);
// SQLite in memory, with one connection: the twin of a disk for tests and simulations. It lives
// as long as the object; share the object to let the data outlive a server.
Result<std::unique_ptr<Database>> open_memory_database();

}  // namespace steeple::sql
