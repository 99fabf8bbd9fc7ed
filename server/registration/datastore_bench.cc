// SPDX-License-Identifier: Apache-2.0

// What the store and the index cost, beside SQLite's own limit in the same run (DESIGN section 5):
//   datastore_bench [entries] [folder]
// Rates depend on the disk under `folder`; compare the ratios.

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/sql/database.h"
#include "server/datastore/sql_datastore.h"
#include "server/registration/entry_index.h"

namespace steeple::server {
namespace {

constexpr int kBatch = 500;
constexpr int kPerAgent = 100;

double seconds_since(SteadyTime start) {
  return std::chrono::duration<double>(system_clock().steady() - start).count();
}

// Processor time of this process, which other load on the machine does not stretch.
double cpu_seconds() {
  struct rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::shared_ptr<sql::Database> open_file(const std::string& path) {
  sql::Options options;
  options.connection_string = path;
  return sql::open_database(options).take();
}

Entry entry_of(int number) {
  auto id = [](const std::string& path) {
    return spiffe::SpiffeId::parse("spiffe://example.org" + path).take();
  };
  return {.spiffe_id = id(fmt::format("/ns/default/sa/service-{}", number)),
          .parent_id = id(fmt::format("/spire/agent/k8s_psat/cluster/node-{}", number / kPerAgent)),
          .selectors = {{"k8s", "ns:default"}, {"k8s", fmt::format("pod-uid:{:08x}", number)}}};
}

// Commits of one small row: what the disk and SQLite allow one at a time.
double raw_commits(const std::string& path) {
  auto database = open_file(path);
  {
    auto write = database->write().take();
    write.execute("CREATE TABLE t (id integer primary key, a text)").take();
    write.commit().take();
  }
  int commits = 0;
  auto start = system_clock().steady();
  while (seconds_since(start) < 1.0) {
    auto write = database->write().take();
    write.run("INSERT INTO t (a) VALUES (?)", "value").take();
    write.commit().take();
    ++commits;
  }
  return commits / seconds_since(start);
}

// Batches of kBatch plain rows, one transaction each, as many rows as an entry has (entry, two
// selectors, event): the fastest a durable batch could be.
double raw_batches(const std::string& path) {
  auto database = open_file(path);
  double cpu = cpu_seconds();
  int batches = 0;
  auto start = system_clock().steady();
  while (seconds_since(start) < 1.0) {
    auto write = database->write().take();
    for (int i = 0; i < kBatch * 4; ++i) {
      write.run("INSERT INTO t (a) VALUES (?)", "a value of the usual length").take();
    }
    write.commit().take();
    ++batches;
  }
  fmt::print("SQLite alone: {:<27} {:>10.1f} us CPU an entry\n", "batches, no indexes",
             (cpu_seconds() - cpu) * 1e6 / (batches * kBatch));
  return batches * kBatch / seconds_since(start);
}

void create(Datastore& store, int entries) {
  auto start = system_clock().steady();
  double cpu = cpu_seconds();
  for (int at = 0; at < entries; at += kBatch) {
    std::vector<Entry> batch;
    for (int i = at; i < std::min(at + kBatch, entries); ++i) {
      batch.push_back(entry_of(i));
    }
    auto results = store.create_entries(std::move(batch)).take();
    for (const auto& result : results) {
      if (!result.ok()) {
        fmt::print("create failed: {}\n", result.error().message);
        std::exit(1);
      }
    }
  }
  double took = seconds_since(start);
  fmt::print("create, batches of {:<22} {:>10.0f} entries/s, {:.1f} us CPU each\n", kBatch,
             entries / took, (cpu_seconds() - cpu) * 1e6 / entries);
}

void list(Datastore& store, int entries) {
  double cpu = cpu_seconds();
  std::size_t seen = 0;
  Pagination page{"", 1000};
  do {
    auto answer = store.list_entries({}, page).take();
    seen += answer.items.size();
    page.token = answer.next;
  } while (!page.token.empty());
  fmt::print("list, pages of 1000{:<22} {:>10.2f} us CPU each ({} entries)\n", "",
             (cpu_seconds() - cpu) * 1e6 / static_cast<double>(seen), seen);
  auto by_selector = system_clock().steady();
  EntryFilter filter{.selectors = SelectorFilter{
                         {{"k8s", fmt::format("pod-uid:{:08x}", entries / 2)}}, Match::kSuperset}};
  constexpr int kRounds = 1000;
  for (int i = 0; i < kRounds; ++i) {
    store.list_entries(filter, std::nullopt).take();
  }
  fmt::print("list by one selector{:<21} {:>10.2f} us each\n", "",
             seconds_since(by_selector) * 1e6 / kRounds);
}

// Bytes that the heap has handed out, large blocks included.
std::size_t heap_bytes() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

void index(Datastore& store, int entries) {
  auto before = heap_bytes();
  EntryIndex index(spiffe::TrustDomain::parse("example.org").take(), {.datastore = store});
  auto start = system_clock().steady();
  index.load().take();
  double took = seconds_since(start);
  auto after = heap_bytes();
  fmt::print("index load{:<31} {:>10.2f} us each, {:.0f} ms\n", "", took * 1e6 / entries,
             took * 1e3);
  fmt::print("index memory{:<29} {:>10.0f} bytes an entry (own count {:.0f})\n", "",
             static_cast<double>(after - before) / entries,
             static_cast<double>(index.memory_bytes()) / entries);
  std::string agent = "spiffe://example.org/spire/agent/k8s_psat/cluster/node-1";
  constexpr int kRounds = 10'000;
  start = system_clock().steady();
  std::size_t found = 0;
  for (int i = 0; i < kRounds; ++i) {
    found = index.authorized_entries(agent)->entries.size();  // not attested: never cached
  }
  fmt::print("authorized entries of an agent ({}){:<6} {:>10.2f} us, not cached\n", found, "",
             seconds_since(start) * 1e6 / kRounds);
  auto entry_id = std::string(index.authorized_entries(agent)->entries[7]->id());
  start = system_clock().steady();
  for (int i = 0; i < kRounds; ++i) {
    index.authorized_entry(agent, entry_id);
  }
  fmt::print("one authorized entry{:<21} {:>10.2f} us\n", "", seconds_since(start) * 1e6 / kRounds);
  store.create_node({.spiffe_id = spiffe::SpiffeId::parse(agent).take(), .serial = "1"}).take();
  start = system_clock().steady();
  std::string wire;
  for (int i = 0; i < kRounds; ++i) {
    wire.clear();
    auto answer = index.authorized_entries(agent);
    for (const auto& entry : answer->entries) {
      entry->append_wire(kAllEntryFields & ~(1U << 3), wire);
    }
  }
  fmt::print("the same cached, as masked bytes{:<9} {:>10.2f} us, {} bytes\n", "",
             seconds_since(start) * 1e6 / kRounds, wire.size());
  constexpr int kChanges = 200;
  start = system_clock().steady();
  for (int i = 0; i < kChanges; ++i) {
    ChangeBatch batch;
    batch.entry_ids = {entry_id};
    index.apply(batch).take();
  }
  fmt::print("apply one change{:<25} {:>10.2f} us\n", "", seconds_since(start) * 1e6 / kChanges);
}

int run(int entries, const std::string& folder) {
  std::filesystem::create_directories(folder);
  double commits = raw_commits(folder + "/raw.db");
  double batches = raw_batches(folder + "/raw.db");
  fmt::print("SQLite alone: {:<27} {:>10.0f} commits/s\n", "one row a commit", commits);
  fmt::print("SQLite alone: {:<27} {:>10.0f} entries/s worth of rows\n", "batches, no indexes",
             batches);
  auto store =
      open_sql_datastore(open_file(folder + "/bench.db"), system_clock(), system_random()).take();
  create(*store, entries);
  list(*store, entries);
  index(*store, entries);
  return 0;
}

}  // namespace
}  // namespace steeple::server

int main(int argc, char** argv) {
  int entries = argc > 1 ? std::atoi(argv[1]) : 30'000;
  std::string folder = argc > 2 ? argv[2] : std::string();
  bool own = folder.empty();
  if (own) {
    std::string pattern = std::filesystem::temp_directory_path() / "datastore_bench_XXXXXX";
    folder = mkdtemp(pattern.data());
  }
  int code = steeple::server::run(entries, folder);
  if (own) {
    std::filesystem::remove_all(folder);
  }
  return code;
}
