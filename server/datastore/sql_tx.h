// SPDX-License-Identifier: Apache-2.0

// A datastore transaction: a lease whose errors carry SPIRE's prefix, and the changes it made.
// Internal to server/datastore.

#pragma once

#include <fmt/format.h>

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/sql/database.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

inline constexpr std::string_view kSqlPrefix = "datastore-sql";

inline Error record_not_found() { return not_found("datastore-sql: record not found"); }
// A row that holds what no SPIRE writes. Names the row; never stops the process.
inline Error corrupt_row(std::string_view what, std::string_view which, std::string_view why) {
  return {Code::kDataLoss,
          fmt::format("{}: invalid {} \"{}\" in the database: {}", kSqlPrefix, what, which, why)};
}

class Cursor {
 public:
  explicit Cursor(sql::Rows rows) : rows_(std::move(rows)) {}
  Result<bool> next() { return rows_.next().during(kSqlPrefix); }
  Result<void> ok() const { return rows_.ok().during(kSqlPrefix); }
  void forgive() { rows_.forgive(); }
  bool is_null(int column) const { return rows_.is_null(column); }
  std::int64_t integer(int column) { return rows_.integer(column); }
  bool boolean(int column) { return rows_.boolean(column); }
  std::string_view text(int column) { return rows_.text(column); }
  std::string string(int column) { return std::string(rows_.text(column)); }

 private:
  sql::Rows rows_;
};

class Tx {
 public:
  Tx(sql::Lease lease, std::string now) : now_(std::move(now)), lease_(std::move(lease)) {}

  template <class... Args>
  Result<Cursor> query(std::string_view sql, const Args&... args) {
    const std::array<sql::Argument, sizeof...(Args)> list{sql::to_argument(args)...};
    return query_list(sql, list);
  }
  Result<Cursor> query_list(std::string_view sql, std::span<const sql::Argument> arguments) {
    return Cursor(TRY(lease_.query_list(sql, arguments).during(kSqlPrefix)));
  }
  template <class... Args>
  Result<std::int64_t> run(std::string_view sql, const Args&... args) {
    return lease_.run(sql, args...).during(kSqlPrefix);
  }
  // The new row's id.
  template <class... Args>
  Result<std::int64_t> insert(std::string_view sql, const Args&... args) {
    TRY(run(sql, args...));
    return lease_.last_insert_id();
  }
  // Parts do not nest.
  Result<void> begin_part() {
    before_part_ = {changes_.entry_ids.size(), changes_.node_ids.size(), changes_.bundles.size()};
    return lease_.begin_part().during(kSqlPrefix);
  }
  Result<void> keep_part() { return lease_.keep_part().during(kSqlPrefix); }
  // Also forgets the part's changes: the next writer gets the ids of its event rows.
  Result<void> undo_part();
  Result<void> execute(std::string_view script) {
    return lease_.execute(script).during(kSqlPrefix);
  }
  Result<void> commit() { return lease_.commit().during(kSqlPrefix); }

  // The transaction's time as the created_at and updated_at columns hold it.
  const std::string& now() const { return now_; }

  // Each writes the event row that other servers poll, and notes the change for the listeners.
  Result<void> entry_changed(std::string entry_id);
  Result<void> node_changed(std::string spiffe_id);
  void bundle_changed(const spiffe::TrustDomain& domain) { changes_.bundles.push_back(domain); }
  ChangeBatch take_changes() { return std::move(changes_); }

 private:
  struct Counts {
    std::size_t entries = 0, nodes = 0, bundles = 0;
  };

  std::string now_;
  ChangeBatch changes_;
  Counts before_part_;
  sql::Lease lease_;
};

// The WHERE clause of a list: conditions joined by AND, with their arguments.
class Where {
 public:
  void add(std::string_view condition) {
    sql_ += sql_.empty() ? " WHERE " : " AND ";
    sql_ += condition;
  }
  void argument(sql::Argument value) { arguments_.push_back(value); }
  // For texts that do not outlive the call otherwise.
  void owned(std::string text) {
    arguments_.push_back(std::string_view(owned_.emplace_back(std::move(text))));
  }

  const std::string& sql() const { return sql_; }
  const std::vector<sql::Argument>& arguments() const { return arguments_; }

 private:
  std::string sql_;
  std::vector<sql::Argument> arguments_;
  std::deque<std::string> owned_;
};

// "(?,?,?)"
std::string placeholders(std::size_t count);

// How many ids one IN list takes, and the padded size that keeps statement texts few.
inline constexpr std::size_t kInListMax = 512;
std::size_t padded_in_list(std::size_t count);

// Adds the conditions that compare a row's selectors with the filter's. `key` is the row's column
// (e.g. "e.id"), `table` holds selectors, `owner` names the row there.
Result<void> add_selector_conditions(const SelectorFilter& filter, std::string_view key,
                                     std::string_view table, std::string_view owner, Where& where);

// kInvalidArgument as SPIRE words it. Page size 0 is refused, large ones are cut.
struct PageRequest {
  std::int64_t after = 0;
  std::int64_t limit = 0;  // -1: no limit
};
Result<PageRequest> parse_page(const std::optional<Pagination>& page);
// The token after a page whose last row has this id; empty when the page was not full.
std::string next_token(const PageRequest& page, std::size_t rows, std::int64_t last_row);

}  // namespace steeple::server
