// SPDX-License-Identifier: Apache-2.0

// Attested nodes (agents) and their selectors.

#include <algorithm>
#include <utility>

#include "server/datastore/sql_store.h"
#include "server/datastore/time_text.h"

namespace steeple::server {
namespace {

constexpr std::string_view kNodeColumns =
    "SELECT n.id, n.spiffe_id, n.data_type, n.serial_number, n.expires_at, n.new_serial_number,"
    " n.new_expires_at, n.can_reattest, n.agent_version FROM attested_node_entries n";

// The columns hold text in any zone, so times are compared as numbers.
constexpr std::string_view kExpiresBefore = "unixepoch(n.expires_at) < ?";
constexpr std::string_view kValidAt = "unixepoch(n.expires_at) >= ?";

Result<std::int64_t> time_of(Cursor& rows, int column, std::string_view spiffe_id) {
  if (rows.is_null(column)) {
    return 0;
  }
  auto value = parse_time_text(rows.text(column));
  if (!value.ok()) {
    return corrupt_row("expiry of attested node", spiffe_id, value.error().message);
  }
  return value->seconds;
}

Result<StoredNode> read_row(Cursor& rows) {
  auto id = spiffe::SpiffeId::parse(rows.text(1));
  if (!id.ok()) {
    return corrupt_row("SPIFFE ID of attested node", rows.text(1), id.error().message);
  }
  StoredNode stored{rows.integer(0), {.spiffe_id = std::move(id).take()}};
  AttestedNode& node = stored.node;
  node.attestation_type = rows.text(2);
  node.serial = rows.text(3);
  node.not_after = TRY(time_of(rows, 4, node.spiffe_id.text()));
  node.new_serial = rows.text(5);
  node.new_not_after = TRY(time_of(rows, 6, node.spiffe_id.text()));
  node.can_reattest = rows.boolean(7);
  node.agent_version = rows.text(8);
  TRY(rows.ok());
  return stored;
}

Result<std::vector<StoredNode>> read_nodes(Tx& tx, std::string_view clauses,
                                           std::span<const sql::Argument> arguments) {
  std::vector<StoredNode> nodes;
  std::string sql(kNodeColumns);
  sql += clauses;
  auto rows = TRY(tx.query_list(sql, arguments));
  while (TRY(rows.next())) {
    nodes.push_back(TRY(read_row(rows)));
  }
  return nodes;
}

// Fills the selectors of many nodes with one statement per kInListMax of them.
Result<void> read_selectors(Tx& tx, std::span<StoredNode> nodes) {
  for (std::size_t at = 0; at < nodes.size(); at += kInListMax) {
    auto part = nodes.subspan(at, std::min(kInListMax, nodes.size() - at));
    std::map<std::string_view, AttestedNode*> by_id;
    for (StoredNode& stored : part) {
      by_id.emplace(stored.node.spiffe_id.text(), &stored.node);
    }
    std::size_t size = padded_in_list(part.size());
    std::vector<sql::Argument> ids;
    for (std::size_t i = 0; i < size; ++i) {
      ids.push_back(std::string_view(part[std::min(i, part.size() - 1)].node.spiffe_id.text()));
    }
    auto rows =
        TRY(tx.query_list(fmt::format("SELECT spiffe_id, type, value FROM node_resolver_map_entries"
                                      " WHERE spiffe_id IN {} ORDER BY spiffe_id, type, value",
                                      placeholders(size)),
                          ids));
    while (TRY(rows.next())) {
      if (auto found = by_id.find(rows.text(0)); found != by_id.end()) {
        found->second->selectors.push_back({rows.string(1), rows.string(2)});
      }
    }
  }
  return {};
}

Result<std::optional<std::string>> optional_time(std::int64_t unix_seconds) {
  if (unix_seconds == 0) {
    return std::optional<std::string>();
  }
  return std::optional<std::string>(TRY(time_text(unix_seconds)));
}

Result<void> add_node_conditions(const AttestedNodeFilter& filter, Where& where) {
  if (!filter.attestation_type.empty()) {
    where.add("n.data_type = ?");
    where.argument(std::string_view(filter.attestation_type));
  }
  if (filter.banned) {
    where.add(*filter.banned ? "n.serial_number = ''" : "n.serial_number <> ''");
  }
  if (filter.can_reattest) {
    where.add("n.can_reattest = ?");
    where.argument(sql::to_argument(*filter.can_reattest));
  }
  if (filter.expires_before) {
    where.add(kExpiresBefore);
    where.argument(*filter.expires_before);
  }
  if (filter.valid_at) {
    where.add(kValidAt);
    where.argument(*filter.valid_at);
  }
  if (!filter.spiffe_ids.empty()) {
    constexpr std::size_t kIdsMax = 10'000;
    if (filter.spiffe_ids.size() > kIdsMax) {
      return invalid_argument(fmt::format("cannot list by more than {} SPIFFE IDs", kIdsMax));
    }
    where.add("n.spiffe_id IN " + placeholders(filter.spiffe_ids.size()));
    for (const auto& id : filter.spiffe_ids) {
      where.argument(std::string_view(id.text()));
    }
  }
  if (filter.selectors) {
    if (filter.selectors->selectors.empty()) {
      return invalid_argument("cannot list by empty selectors set");
    }
    TRY(add_selector_conditions(*filter.selectors, "n.spiffe_id", "node_resolver_map_entries",
                                "spiffe_id", where));
  }
  return {};
}

// A join-token agent's alias entry goes with the agent: exactly the one that token generation
// writes, one selector spiffe_id:<its parent>. Other entries under the agent are the user's.
Result<void> delete_alias_entries(Tx& tx, const AttestedNode& node) {
  if (node.attestation_type != "join_token") {
    return {};
  }
  const std::array<sql::Argument, 1> arguments{std::string_view(node.spiffe_id.text())};
  for (const StoredEntry& stored :
       TRY(read_entries(tx, " WHERE e.parent_id = ? ORDER BY e.id", arguments))) {
    const Selector alias{"spiffe_id", node.spiffe_id.text()};
    if (stored.entry.selectors.size() == 1 && stored.entry.selectors.front() == alias) {
      TRY(delete_entry_row(tx, stored.row, stored.entry.id));
    }
  }
  return {};
}

Result<void> delete_node_row(Tx& tx, const StoredNode& stored) {
  TRY(delete_alias_entries(tx, stored.node));
  TRY(tx.run("DELETE FROM node_resolver_map_entries WHERE spiffe_id = ?",
             stored.node.spiffe_id.text()));
  TRY(tx.run("DELETE FROM attested_node_entries WHERE id = ?", stored.row));
  return tx.node_changed(stored.node.spiffe_id.text());
}

}  // namespace

Result<std::optional<StoredNode>> read_node(Tx& tx, const spiffe::SpiffeId& id) {
  const std::array<sql::Argument, 1> arguments{std::string_view(id.text())};
  auto nodes = TRY(read_nodes(tx, " WHERE n.spiffe_id = ?", arguments));
  if (nodes.empty()) {
    return std::optional<StoredNode>();
  }
  return std::optional<StoredNode>(std::move(nodes.front()));
}

Result<void> insert_node(Tx& tx, const AttestedNode& node) {
  auto not_after = TRY(time_text(node.not_after));
  auto new_not_after = TRY(optional_time(node.new_not_after));
  TRY(
      tx.run("INSERT INTO attested_node_entries (created_at, updated_at, spiffe_id, data_type,"
             " serial_number, expires_at, new_serial_number, new_expires_at, can_reattest,"
             " agent_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
             tx.now(), tx.now(), node.spiffe_id.text(), node.attestation_type, node.serial,
             not_after, node.new_serial, new_not_after, node.can_reattest, node.agent_version));
  return tx.node_changed(node.spiffe_id.text());
}

Result<void> write_node(Tx& tx, const StoredNode& stored) {
  const AttestedNode& node = stored.node;
  auto not_after = TRY(time_text(node.not_after));
  auto new_not_after = TRY(optional_time(node.new_not_after));
  TRY(
      tx.run("UPDATE attested_node_entries SET updated_at = ?, data_type = ?, serial_number = ?,"
             " expires_at = ?, new_serial_number = ?, new_expires_at = ?, can_reattest = ?,"
             " agent_version = ? WHERE id = ?",
             tx.now(), node.attestation_type, node.serial, not_after, node.new_serial,
             new_not_after, node.can_reattest, node.agent_version, stored.row));
  return tx.node_changed(node.spiffe_id.text());
}

Result<void> replace_selectors(Tx& tx, const spiffe::SpiffeId& id,
                               std::span<const Selector> selectors) {
  TRY(tx.run("DELETE FROM node_resolver_map_entries WHERE spiffe_id = ?", id.text()));
  for (const Selector& selector : selectors) {
    TRY(
        tx.run("INSERT INTO node_resolver_map_entries (created_at, updated_at, spiffe_id, type,"
               " value) VALUES (?, ?, ?, ?, ?)",
               tx.now(), tx.now(), id.text(), selector.type, selector.value));
  }
  return {};
}

Result<AttestedNode> SqlStore::create_node(const AttestedNode& node) {
  auto tx = TRY(write());
  TRY(insert_node(tx, node));
  TRY(finish(std::move(tx)));
  AttestedNode stored = node;
  stored.selectors.clear();
  return stored;
}

Result<std::optional<AttestedNode>> SqlStore::fetch_node(const spiffe::SpiffeId& id) {
  auto tx = TRY(read());
  auto stored = TRY(read_node(tx, id));
  if (!stored) {
    return std::optional<AttestedNode>();
  }
  return std::optional<AttestedNode>(std::move(stored->node));
}

Result<std::vector<AttestedNode>> SqlStore::fetch_nodes(std::span<const std::string> ids) {
  auto tx = TRY(read());
  std::vector<AttestedNode> nodes;
  for (std::size_t at = 0; at < ids.size(); at += kInListMax) {
    auto part = ids.subspan(at, std::min(kInListMax, ids.size() - at));
    std::size_t size = padded_in_list(part.size());
    std::vector<sql::Argument> arguments;
    for (std::size_t i = 0; i < size; ++i) {
      arguments.push_back(std::string_view(part[std::min(i, part.size() - 1)]));
    }
    auto found =
        TRY(read_nodes(tx, fmt::format(" WHERE n.spiffe_id IN {}", placeholders(size)), arguments));
    TRY(read_selectors(tx, found));
    for (StoredNode& stored : found) {
      nodes.push_back(std::move(stored.node));
    }
  }
  return nodes;
}

Result<Page<AttestedNode>> SqlStore::list_nodes(const AttestedNodeFilter& filter,
                                                const std::optional<Pagination>& page) {
  auto request = TRY(parse_page(page));
  Where where;
  TRY(add_node_conditions(filter, where));
  where.add("n.id > ?");
  where.argument(request.after);
  std::vector<sql::Argument> arguments = where.arguments();
  arguments.push_back(request.limit);  // -1 is no limit
  auto tx = TRY(read());
  auto nodes = TRY(read_nodes(tx, where.sql() + " ORDER BY n.id LIMIT ?", arguments));
  if (filter.fetch_selectors) {
    TRY(read_selectors(tx, nodes));
  }
  Page<AttestedNode> answer;
  answer.next = nodes.empty() ? "" : next_token(request, nodes.size(), nodes.back().row);
  answer.items.reserve(nodes.size());
  for (StoredNode& stored : nodes) {
    answer.items.push_back(std::move(stored.node));
  }
  return answer;
}

Result<std::int32_t> SqlStore::count_nodes(const AttestedNodeFilter& filter) {
  Where where;
  TRY(add_node_conditions(filter, where));
  auto tx = TRY(read());
  return count_of(tx, "SELECT COUNT(*) FROM attested_node_entries n" + where.sql(),
                  where.arguments());
}

Result<AttestedNode> SqlStore::update_node(const AttestedNode& node, const AttestedNodeMask& mask) {
  auto tx = TRY(write());
  auto stored = TRY(read_node(tx, node.spiffe_id));
  if (!stored) {
    return record_not_found();
  }
  AttestedNode& result = stored->node;
  auto copy = [&node, &result](bool wanted, auto field) {
    if (wanted) {
      result.*field = node.*field;
    }
  };
  copy(mask.attestation_type, &AttestedNode::attestation_type);
  copy(mask.serial, &AttestedNode::serial);
  copy(mask.not_after, &AttestedNode::not_after);
  copy(mask.new_serial, &AttestedNode::new_serial);
  copy(mask.new_not_after, &AttestedNode::new_not_after);
  copy(mask.can_reattest, &AttestedNode::can_reattest);
  copy(mask.agent_version, &AttestedNode::agent_version);
  TRY(write_node(tx, *stored));
  TRY(finish(std::move(tx)));
  return std::move(result);
}

Result<std::optional<AttestedNode>> SqlStore::activate_node_serial(const spiffe::SpiffeId& id,
                                                                   std::string_view serial) {
  auto tx = TRY(write());
  auto stored = TRY(read_node(tx, id));
  if (!stored) {
    return std::optional<AttestedNode>();
  }
  AttestedNode& node = stored->node;
  if (!node.banned() && !serial.empty() && node.new_serial == serial) {
    node.serial = std::exchange(node.new_serial, std::string());
    node.not_after = std::exchange(node.new_not_after, 0);
    TRY(write_node(tx, *stored));
    TRY(finish(std::move(tx)));
  }
  return std::optional<AttestedNode>(std::move(node));
}

Result<AttestedNode> SqlStore::delete_node(const spiffe::SpiffeId& id) {
  auto tx = TRY(write());
  auto stored = TRY(read_node(tx, id));
  if (!stored) {
    return record_not_found();
  }
  TRY(delete_node_row(tx, *stored));
  TRY(finish(std::move(tx)));
  return std::move(stored->node);
}

Result<std::int32_t> SqlStore::prune_nodes(std::int64_t expires_before,
                                           bool include_non_reattestable, std::int32_t batch) {
  constexpr std::int32_t kBatchDefault = 100;
  std::string clauses = " WHERE n.serial_number <> '' AND ";
  clauses += kExpiresBefore;
  if (!include_non_reattestable) {
    clauses += " AND n.can_reattest = 1";
  }
  clauses += " ORDER BY n.id LIMIT ?";
  auto tx = TRY(write());
  const std::array<sql::Argument, 2> arguments{expires_before,
                                               std::int64_t{batch > 0 ? batch : kBatchDefault}};
  auto expired = TRY(read_nodes(tx, clauses, arguments));
  for (const StoredNode& stored : expired) {
    TRY(delete_node_row(tx, stored));
  }
  TRY(finish(std::move(tx)));
  return static_cast<std::int32_t>(expired.size());
}

Result<void> SqlStore::set_node_selectors(const spiffe::SpiffeId& id,
                                          std::span<const Selector> selectors) {
  auto tx = TRY(write());
  TRY(replace_selectors(tx, id, selectors));
  TRY(tx.node_changed(id.text()));
  return finish(std::move(tx));
}

Result<std::vector<Selector>> SqlStore::node_selectors(const spiffe::SpiffeId& id) {
  auto tx = TRY(read());
  auto rows =
      TRY(tx.query("SELECT type, value FROM node_resolver_map_entries WHERE spiffe_id = ? "
                   "ORDER BY type, value",
                   id.text()));
  std::vector<Selector> selectors;
  while (TRY(rows.next())) {
    selectors.push_back({rows.string(0), rows.string(1)});
  }
  return selectors;
}

Result<std::map<std::string, std::vector<Selector>>> SqlStore::list_node_selectors(
    std::optional<std::int64_t> valid_at) {
  auto tx = TRY(read());
  std::string sql =
      "SELECT s.spiffe_id, s.type, s.value FROM node_resolver_map_entries s"
      " INNER JOIN attested_node_entries n ON n.spiffe_id = s.spiffe_id";
  std::vector<sql::Argument> arguments;
  if (valid_at) {
    sql += fmt::format(" WHERE {}", kValidAt);
    arguments.emplace_back(*valid_at);
  }
  auto rows = TRY(tx.query_list(sql + " ORDER BY s.spiffe_id, s.type, s.value", arguments));
  std::map<std::string, std::vector<Selector>> all;
  while (TRY(rows.next())) {
    if (all.empty() || std::prev(all.end())->first != rows.text(0)) {
      all.emplace_hint(all.end(), rows.string(0), std::vector<Selector>());
    }
    std::prev(all.end())->second.push_back({rows.string(1), rows.string(2)});
  }
  return all;
}

}  // namespace steeple::server
