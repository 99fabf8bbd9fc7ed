// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/sql_tx.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "lib/base/limits.h"

namespace steeple::server {
namespace {

// Selectors or trust domains in one filter; a longer OR chain would exceed SQLite's depth.
constexpr std::size_t kFilterItemsMax = 256;

// "((type = ? AND value = ?) OR ...)", whose arguments are the filter's selectors.
std::string any_of(const SelectorFilter& filter, Where& where) {
  std::string sql = "(";
  for (const Selector& selector : filter.selectors) {
    sql += sql.size() > 1 ? " OR (type = ? AND value = ?)" : "(type = ? AND value = ?)";
    where.argument(std::string_view(selector.type));
    where.argument(std::string_view(selector.value));
  }
  return sql + ")";
}

}  // namespace

Result<void> Tx::entry_changed(std::string entry_id) {
  TRY(
      run("INSERT INTO registered_entries_events (created_at, updated_at, entry_id)"
          " VALUES (?, ?, ?)",
          now_, now_, entry_id));
  changes_.entry_ids.push_back(std::move(entry_id));
  changes_.entry_events.push_back(static_cast<std::uint64_t>(lease_.last_insert_id()));
  return {};
}

Result<void> Tx::node_changed(std::string spiffe_id) {
  TRY(
      run("INSERT INTO attested_node_entries_events (created_at, updated_at, spiffe_id)"
          " VALUES (?, ?, ?)",
          now_, now_, spiffe_id));
  changes_.node_ids.push_back(std::move(spiffe_id));
  changes_.node_events.push_back(static_cast<std::uint64_t>(lease_.last_insert_id()));
  return {};
}

Result<void> Tx::undo_part() {
  changes_.entry_ids.resize(before_part_.entries);
  changes_.entry_events.resize(before_part_.entries);
  changes_.node_ids.resize(before_part_.nodes);
  changes_.node_events.resize(before_part_.nodes);
  changes_.bundles.erase(
      changes_.bundles.begin() + static_cast<std::ptrdiff_t>(before_part_.bundles),
      changes_.bundles.end());
  return lease_.undo_part().during(kSqlPrefix);
}

std::string placeholders(std::size_t count) {
  std::string sql = "(";
  for (std::size_t i = 0; i < count; ++i) {
    sql += i == 0 ? "?" : ",?";
  }
  return sql + ")";
}

std::size_t padded_in_list(std::size_t count) {
  for (std::size_t size : {std::size_t{1}, std::size_t{8}, std::size_t{64}}) {
    if (count <= size) {
      return size;
    }
  }
  return kInListMax;
}

Result<void> add_selector_conditions(const SelectorFilter& filter, std::string_view key,
                                     std::string_view table, std::string_view owner, Where& where) {
  if (filter.selectors.empty()) {
    return invalid_argument("cannot list by empty selector set");
  }
  if (filter.selectors.size() > kFilterItemsMax) {
    return invalid_argument(fmt::format("cannot list by more than {} selectors", kFilterItemsMax));
  }
  bool all = filter.match == Match::kExact || filter.match == Match::kSuperset;
  bool nothing_else = filter.match == Match::kExact || filter.match == Match::kSubset;
  if (all) {
    for (const Selector& selector : filter.selectors) {
      where.add(
          fmt::format("{} IN (SELECT {} FROM {} WHERE type = ? AND value = ?)", key, owner, table));
      where.argument(std::string_view(selector.type));
      where.argument(std::string_view(selector.value));
    }
  } else {
    where.add(fmt::format("{} IN (SELECT {} FROM {} WHERE {})", key, owner, table,
                          any_of(filter, where)));
  }
  if (nothing_else) {
    where.add(fmt::format("NOT EXISTS (SELECT 1 FROM {} other WHERE other.{} = {} AND NOT {})",
                          table, owner, key, any_of(filter, where)));
  }
  return {};
}

Result<PageRequest> parse_page(const std::optional<Pagination>& page) {
  if (!page) {
    return PageRequest{0, -1};
  }
  if (page->page_size <= 0) {
    return invalid_argument("cannot paginate with pagesize = 0");
  }
  PageRequest request;
  request.limit = std::min<std::int64_t>(page->page_size, limits::kListPageMax);
  if (!page->token.empty()) {
    std::uint64_t id = 0;
    const char* end = page->token.data() + page->token.size();
    auto [stop, error] = std::from_chars(page->token.data(), end, id);
    if (error != std::errc() || stop != end) {
      return invalid_argument(fmt::format("could not parse token '{}'", page->token));
    }
    // Beyond every row id: an empty page, as in SPIRE.
    request.after = static_cast<std::int64_t>(
        std::min<std::uint64_t>(id, std::numeric_limits<std::int64_t>::max()));
  }
  return request;
}

std::string next_token(const PageRequest& page, std::size_t rows, std::int64_t last_row) {
  return std::cmp_equal(rows, page.limit) ? std::to_string(last_row) : std::string();
}

}  // namespace steeple::server
