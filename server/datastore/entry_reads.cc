// SPDX-License-Identifier: Apache-2.0

// Reading entries: one statement for the rows of a page, and one each for their selectors, DNS
// names and trust domains; never one per entry.

#include <algorithm>
#include <limits>

#include "server/datastore/sql_store.h"
#include "server/datastore/time_text.h"
#include "spire/common/common.pb.h"

namespace steeple::server {
namespace {

constexpr std::string_view kEntryColumns =
    "SELECT e.id, e.entry_id, e.spiffe_id, e.parent_id, e.ttl, e.jwt_svid_ttl, e.admin,"
    " e.downstream, e.store_svid, e.hint, e.expiry, e.revision_number, e.created_at,"
    " e.additional_attributes FROM registered_entries e";

// Rows whose ids lie this close together are cheaper to read as a range than as a list.
constexpr std::int64_t kRangeDensity = 4;
constexpr std::int64_t kScanRows = 2048;

Result<std::chrono::seconds> ttl_of(std::int64_t seconds, std::string_view entry_id) {
  if (seconds < 0 || seconds > std::numeric_limits<std::int32_t>::max()) {
    return corrupt_row("SVID TTL of entry", entry_id, std::to_string(seconds));
  }
  return std::chrono::seconds(seconds);
}

Result<void> read_attributes(std::string_view bytes, Entry& entry) {
  spire::common::RegistrationEntry::AdditionalAttributes attributes;
  if (!attributes.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return corrupt_row("additional attributes of entry", entry.id, "not a protobuf message");
  }
  entry.disable_x509_svid_prefetch = attributes.disable_x509_svid_prefetch();
  entry.jwt_svid_include_jti = attributes.jwt_svid_include_jti();
  return {};
}

Result<Entry> read_row(Cursor& rows) {
  std::string id = rows.string(1);
  auto spiffe_id = spiffe::SpiffeId::parse(rows.text(2));
  if (!spiffe_id.ok()) {
    return corrupt_row("SPIFFE ID of entry", id, spiffe_id.error().message);
  }
  auto parent_id = spiffe::SpiffeId::parse(rows.text(3));
  if (!parent_id.ok()) {
    return corrupt_row("parent ID of entry", id, parent_id.error().message);
  }
  Entry entry{.id = std::move(id),
              .spiffe_id = std::move(spiffe_id).take(),
              .parent_id = std::move(parent_id).take()};
  entry.x509_svid_ttl = TRY(ttl_of(rows.integer(4), entry.id));
  entry.jwt_svid_ttl = TRY(ttl_of(rows.integer(5), entry.id));
  entry.admin = rows.boolean(6);
  entry.downstream = rows.boolean(7);
  entry.store_svid = rows.boolean(8);
  entry.hint = rows.text(9);
  entry.expires_at = rows.integer(10);
  entry.revision_number = rows.integer(11);
  if (!rows.is_null(12)) {
    auto created = parse_time_text(rows.text(12));
    if (!created.ok()) {
      return corrupt_row("creation time of entry", entry.id, created.error().message);
    }
    entry.created_at = created->rounded();
  }
  if (!rows.is_null(13)) {
    TRY(read_attributes(rows.text(13), entry));
  }
  TRY(rows.ok());
  return entry;
}

// Calls `visit(entry, rows)` for each detail row (whose column 0 is the owner's row id) of
// `entries`, which are in row order. `select` ends before its WHERE.
template <class Visit>
Result<void> each_detail(Tx& tx, std::span<StoredEntry> entries, std::string_view select,
                         std::string_view owner, Visit visit) {
  auto consume = [&](Cursor rows, std::span<StoredEntry> part) -> Result<void> {
    auto at = part.begin();
    while (TRY(rows.next())) {
      std::int64_t row = rows.integer(0);
      while (at != part.end() && at->row < row) {
        ++at;
      }
      if (at != part.end() && at->row == row) {
        TRY(visit(at->entry, rows));
      }
    }
    return {};
  };
  if (entries.empty()) {
    return {};
  }
  std::int64_t first = entries.front().row;
  std::int64_t last = entries.back().row;
  if ((last - first) / kRangeDensity <= std::ssize(entries)) {
    std::string sql =
        fmt::format("{} WHERE {} >= ? AND {} <= ? ORDER BY {}", select, owner, owner, owner);
    return consume(TRY(tx.query(sql, first, last)), entries);
  }
  for (std::size_t at = 0; at < entries.size(); at += kInListMax) {
    auto part = entries.subspan(at, std::min(kInListMax, entries.size() - at));
    std::size_t size = padded_in_list(part.size());
    std::vector<sql::Argument> ids;
    for (std::size_t i = 0; i < size; ++i) {
      ids.push_back(sql::to_argument(part[std::min(i, part.size() - 1)].row));
    }
    std::string sql =
        fmt::format("{} WHERE {} IN {} ORDER BY {}", select, owner, placeholders(size), owner);
    auto rows = TRY(tx.query_list(sql, ids));
    TRY(consume(std::move(rows), part));
  }
  return {};
}

// Details come grouped by entry but unsorted within it (sorting there would cost SQLite a b-tree);
// each keeps its own row id until then.
template <class T>
void sort_and_move(std::vector<std::pair<std::int64_t, T>>& details, std::vector<T>& out) {
  std::sort(details.begin(), details.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  out.reserve(details.size());
  for (auto& [row, value] : details) {
    out.push_back(std::move(value));
  }
  details.clear();
}

// Collects the details of one entry after the other and puts them in order.
template <class T>
class InOrder {
 public:
  explicit InOrder(std::vector<T> Entry::* field) : field_(field) {}
  ~InOrder() { flush(nullptr); }
  InOrder(const InOrder&) = delete;
  InOrder& operator=(const InOrder&) = delete;
  void add(Entry& entry, std::int64_t row, T value) {
    flush(&entry);
    details_.emplace_back(row, std::move(value));
  }

 private:
  void flush(Entry* next) {
    if (next != entry_ && entry_ != nullptr) {
      sort_and_move(details_, entry_->*field_);
    }
    entry_ = next;
  }
  std::vector<T> Entry::* field_;
  Entry* entry_ = nullptr;
  std::vector<std::pair<std::int64_t, T>> details_;
};

Result<void> read_details(Tx& tx, std::span<StoredEntry> entries) {
  // A set, told in the order of the reference: type, then value.
  TRY(each_detail(tx, entries, "SELECT registered_entry_id, type, value FROM selectors",
                  "registered_entry_id", [](Entry& entry, Cursor& rows) -> Result<void> {
                    entry.selectors.push_back({rows.string(1), rows.string(2)});
                    return {};
                  }));
  for (StoredEntry& stored : entries) {
    std::ranges::sort(stored.entry.selectors);
  }
  {
    InOrder<std::string> names(&Entry::dns_names);
    TRY(each_detail(tx, entries, "SELECT registered_entry_id, id, value FROM dns_names",
                    "registered_entry_id", [&](Entry& entry, Cursor& rows) -> Result<void> {
                      names.add(entry, rows.integer(1), rows.string(2));
                      return {};
                    }));
  }
  TRY(each_detail(tx, entries,
                  "SELECT f.registered_entry_id, b.trust_domain FROM federated_registration_entries"
                  " f INNER JOIN bundles b ON b.id = f.bundle_id",
                  "f.registered_entry_id", [](Entry& entry, Cursor& rows) -> Result<void> {
                    auto domain = spiffe::TrustDomain::parse(rows.text(1));
                    if (!domain.ok()) {
                      return corrupt_row("federated trust domain", rows.text(1),
                                         domain.error().message);
                    }
                    entry.federates_with.push_back(std::move(domain).take());
                    return {};
                  }));
  for (StoredEntry& stored : entries) {
    std::sort(stored.entry.federates_with.begin(), stored.entry.federates_with.end());
  }
  return {};
}

Result<void> add_federation_conditions(const TrustDomainFilter& filter, Where& where) {
  if (filter.trust_domains.empty()) {
    return {};
  }
  std::vector<spiffe::TrustDomain> domains = filter.trust_domains;
  std::sort(domains.begin(), domains.end());
  domains.erase(std::unique(domains.begin(), domains.end()), domains.end());
  constexpr std::size_t kTrustDomainsMax = 256;
  if (domains.size() > kTrustDomainsMax) {
    return invalid_argument(
        fmt::format("cannot list by more than {} trust domains", kTrustDomainsMax));
  }
  std::string list = placeholders(domains.size());
  constexpr std::string_view kOfEntry =
      "FROM federated_registration_entries f INNER JOIN bundles b ON b.id = f.bundle_id WHERE";
  auto add_domains = [&] {
    for (const auto& domain : domains) {
      where.owned(domain.id_string());
    }
  };
  if (filter.match == Match::kAny || filter.match == Match::kSubset) {
    where.add(fmt::format("e.id IN (SELECT f.registered_entry_id {} b.trust_domain IN {})",
                          kOfEntry, list));
    add_domains();
  } else {
    where.add(
        fmt::format("e.id IN (SELECT f.registered_entry_id {} b.trust_domain IN {}"
                    " GROUP BY f.registered_entry_id HAVING COUNT(*) = ?)",
                    kOfEntry, list));
    add_domains();
    where.argument(static_cast<std::int64_t>(domains.size()));
  }
  if (filter.match == Match::kExact || filter.match == Match::kSubset) {
    where.add(
        fmt::format("NOT EXISTS (SELECT 1 {} f.registered_entry_id = e.id AND"
                    " b.trust_domain NOT IN {})",
                    kOfEntry, list));
    add_domains();
  }
  return {};
}

Result<void> add_entry_conditions(const EntryFilter& filter, Where& where) {
  auto equal = [&where](std::string_view condition, std::string_view value) {
    where.add(condition);
    where.argument(value);
  };
  if (filter.parent_id) {
    equal("e.parent_id = ?", filter.parent_id->text());
  }
  if (filter.spiffe_id) {
    equal("e.spiffe_id = ?", filter.spiffe_id->text());
  }
  if (filter.hint) {
    equal("e.hint = ?", *filter.hint);
  }
  if (filter.downstream) {
    where.add("e.downstream = ?");
    where.argument(std::int64_t{1});
  }
  if (filter.selectors) {
    TRY(add_selector_conditions(*filter.selectors, "e.id", "selectors", "registered_entry_id",
                                where));
  }
  if (filter.federates_with) {
    TRY(add_federation_conditions(*filter.federates_with, where));
  }
  return {};
}

}  // namespace

Result<std::vector<StoredEntry>> read_entries(Tx& tx, std::string_view clauses,
                                              std::span<const sql::Argument> arguments,
                                              const BadRow* bad, std::int64_t* last_row) {
  std::vector<StoredEntry> entries;
  std::string sql(kEntryColumns);
  sql += clauses;
  auto rows = TRY(tx.query_list(sql, arguments));
  while (TRY(rows.next())) {
    std::int64_t row = rows.integer(0);
    if (last_row != nullptr) {
      *last_row = row;
    }
    auto entry = read_row(rows);
    if (!entry.ok()) {
      if (bad == nullptr) {
        return std::move(entry).error();
      }
      (*bad)(std::move(entry).error());
      rows.forgive();
      continue;
    }
    entries.push_back({row, std::move(entry).take()});
  }
  // The filters choose the order of SQLite's work, not ours.
  std::sort(entries.begin(), entries.end(),
            [](const StoredEntry& a, const StoredEntry& b) { return a.row < b.row; });
  TRY(read_details(tx, entries));
  return entries;
}

Result<std::optional<StoredEntry>> read_entry(Tx& tx, std::string_view entry_id) {
  const std::array<sql::Argument, 1> arguments{entry_id};
  auto entries = TRY(read_entries(tx, " WHERE e.entry_id = ?", arguments));
  if (entries.empty()) {
    return std::optional<StoredEntry>();
  }
  return std::optional<StoredEntry>(std::move(entries.front()));
}

Result<std::vector<StoredEntry>> read_entries_by_id(Tx& tx, std::span<const std::string> ids) {
  std::vector<StoredEntry> all;
  for (std::size_t at = 0; at < ids.size(); at += kInListMax) {
    auto part = ids.subspan(at, std::min(kInListMax, ids.size() - at));
    std::size_t size = padded_in_list(part.size());
    std::vector<sql::Argument> arguments;
    for (std::size_t i = 0; i < size; ++i) {
      arguments.push_back(std::string_view(part[std::min(i, part.size() - 1)]));
    }
    auto found = TRY(
        read_entries(tx, fmt::format(" WHERE e.entry_id IN {}", placeholders(size)), arguments));
    std::move(found.begin(), found.end(), std::back_inserter(all));
  }
  return all;
}

Result<std::int32_t> count_of(Tx& tx, std::string_view sql,
                              std::span<const sql::Argument> arguments) {
  auto rows = TRY(tx.query_list(sql, arguments));
  TRY(rows.next());
  return static_cast<std::int32_t>(
      std::min<std::int64_t>(rows.integer(0), std::numeric_limits<std::int32_t>::max()));
}

Result<std::optional<Entry>> SqlStore::fetch_entry(std::string_view id) {
  auto tx = TRY(read());
  auto stored = TRY(read_entry(tx, id));
  if (!stored) {
    return std::optional<Entry>();
  }
  return std::optional<Entry>(std::move(stored->entry));
}

Result<std::vector<Entry>> SqlStore::fetch_entries(std::span<const std::string> ids) {
  auto tx = TRY(read());
  std::vector<Entry> entries;
  for (StoredEntry& stored : TRY(read_entries_by_id(tx, ids))) {
    entries.push_back(std::move(stored.entry));
  }
  return entries;
}

Result<Page<Entry>> SqlStore::list_entries(const EntryFilter& filter,
                                           const std::optional<Pagination>& page) {
  auto request = TRY(parse_page(page));
  Where where;
  TRY(add_entry_conditions(filter, where));
  if (page) {
    where.add("e.id > ?");
    where.argument(request.after);
  }
  std::string clauses = where.sql() + " ORDER BY e.id";
  std::vector<sql::Argument> arguments = where.arguments();
  if (page) {
    clauses += " LIMIT ?";
    arguments.push_back(request.limit);
  }
  auto tx = TRY(read());
  auto entries = TRY(read_entries(tx, clauses, arguments));
  Page<Entry> answer;
  answer.next = entries.empty() ? "" : next_token(request, entries.size(), entries.back().row);
  answer.items.reserve(entries.size());
  for (StoredEntry& stored : entries) {
    answer.items.push_back(std::move(stored.entry));
  }
  return answer;
}

Result<std::int32_t> SqlStore::count_entries(const EntryFilter& filter) {
  Where where;
  TRY(add_entry_conditions(filter, where));
  auto tx = TRY(read());
  return count_of(tx, "SELECT COUNT(*) FROM registered_entries e" + where.sql(), where.arguments());
}

Result<void> SqlStore::scan_entries(const std::function<void(Result<Entry>)>& visit) {
  auto tx = TRY(read());
  std::int64_t last = 0;
  const BadRow bad = [&visit](Error error) { visit(std::move(error)); };
  for (;;) {
    const std::array<sql::Argument, 2> arguments{last, kScanRows};
    std::int64_t reached = last;
    auto entries =
        TRY(read_entries(tx, " WHERE e.id > ? ORDER BY e.id LIMIT ?", arguments, &bad, &reached));
    if (reached == last) {
      return {};
    }
    last = reached;
    for (StoredEntry& stored : entries) {
      visit(std::move(stored.entry));
    }
  }
}

}  // namespace steeple::server
