// SPDX-License-Identifier: Apache-2.0

// Brings SPIRE's entries to what is desired: decides key by key, and sends the differences in
// batches, one call at a time, deletions before creations before updates. Loads all entries once;
// afterwards it lists them anew only when the server's count is not what it should be (asked each
// gcInterval), after a call whose outcome is not known, and every kFullCompareInterval.
//
// Refusals of single entries are tried again with a backoff of their own. Entries that nothing
// declares and that this program did not make are deleted like the others, unless they are more
// than the limit allows: then none of them is, and `refused` is told. On the loop.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "controller/config/controller_config.h"
#include "controller/reconcile/actual_state.h"
#include "controller/reconcile/counters.h"
#include "controller/reconcile/desired_state.h"
#include "controller/reconcile/spire_api.h"
#include "lib/base/random.h"
#include "lib/io/loop.h"
#include "lib/kube/backoff.h"
#include "lib/telemetry/log.h"
#include "spire/api/server/entry/v1/entry.pb.h"

namespace steeple::controller {

inline constexpr auto kFullCompareInterval = std::chrono::minutes(10);
inline constexpr std::size_t kWriteBatchMax = 200;  // entries in one call
inline constexpr std::size_t kWriteBytesMax = std::size_t{1} << 20;
inline constexpr int kListPageSize = 500;

// What one key needs.
struct Decision {
  bool create = false;
  std::string update = {};  // the id, or empty
  std::vector<std::string> remove = {};
  std::vector<std::string> remove_foreign = {};  // if the limit allows it

  bool nothing() const {
    return !create && update.empty() && remove.empty() && remove_foreign.empty();
  }
};
Decision decide(const EntryKey& key, const std::optional<DesiredState::Winner>& winner,
                const std::vector<const ActualEntry*>& current);

struct EntryFailure {
  Code code = Code::kUnknown;
  std::string message;
};

class EntrySync {
 public:
  struct Options {
    ActualState::Options ids = {};
    Duration gc_interval = std::chrono::seconds(10);
    DeletionLimit limit = {};
    bool dry_run = false;
  };
  struct Hooks {
    // The load is complete. Once.
    std::function<void()> loaded = {};
    // What stands, or what fails, has changed for these declarers.
    std::function<void(const SourceName&)> touched = {};
    // So many entries would have to go; text for people. Told when the number changes.
    std::function<void(const std::string& text)> refused = {};
  };
  struct Deps {
    io::Loop& loop;
    SpireApi& spire;
    DesiredState& desired;
    Random& random;
    Logger log;
    Counters& counters;
  };

  EntrySync(Deps deps, Options options, Hooks hooks);
  ~EntrySync();
  EntrySync(const EntrySync&) = delete;
  EntrySync& operator=(const EntrySync&) = delete;

  // Loads the entries.
  void start();
  bool loaded() const { return loaded_; }
  // The desired state is complete: from now on differences are written.
  void allow_writes();
  // The desired state may have changed.
  void poke();
  // Lists all entries again, soon.
  void compare();

  // Nothing is to be done and nothing is under way (what waits for its retry aside).
  bool idle() const;
  const ActualState& actual() const { return actual_; }
  // The first failure that holds back an entry of this source, and how many there are.
  std::pair<std::size_t, EntryFailure> failures(const SourceName& source) const;
  // The winner of this key stands as it should.
  bool stands(const EntryKey& key) const;
  // What would be done, one line each, sorted; with `allow_writes` not yet called.
  std::vector<std::string> plan() const;

 private:
  using CreateRequest = ::spire::api::server::entry::v1::BatchCreateEntryRequest;
  using CreateResponse = ::spire::api::server::entry::v1::BatchCreateEntryResponse;
  using UpdateRequest = ::spire::api::server::entry::v1::BatchUpdateEntryRequest;
  using UpdateResponse = ::spire::api::server::entry::v1::BatchUpdateEntryResponse;
  using DeleteRequest = ::spire::api::server::entry::v1::BatchDeleteEntryRequest;
  using DeleteResponse = ::spire::api::server::entry::v1::BatchDeleteEntryResponse;
  using ListResponse = ::spire::api::server::entry::v1::ListEntriesResponse;
  using CountResponse = ::spire::api::server::entry::v1::CountEntriesResponse;

  struct Item {
    EntryKey key;
    ContentDigest content = {};
    std::string id = {};
    SourceName source = {SourceKind::kSpiffeId, ""};
    std::string pod = {};
  };
  struct Failing {
    SourceName source;
    EntryFailure failure;
    kube::Backoff backoff;
    SteadyTime retry_at{};
  };

  // --- reading (entry_list.cc) ---
  void list();
  void list_page(const std::string& token);
  void listed(Result<ListResponse> page);
  void list_done();
  void start_gc_timer();
  void gc();
  void counted(Result<CountResponse> count);

  // --- writing (entry_sync.cc) ---
  void flush();
  void gather();
  void take(const EntryKey& key);
  void add_create(const EntryKey& key, const DesiredState::Winner& winner);
  void add_update(const EntryKey& key, const DesiredState::Winner& winner, const std::string& id);
  void add_delete(const EntryKey& key, const std::string& id);
  void consider_foreign();
  std::vector<const ActualEntry*> undeclared_foreign();
  void refuse(const std::vector<const ActualEntry*>& candidates);
  bool send();
  void created(Result<CreateResponse> answer);
  void updated(Result<UpdateResponse> answer);
  void deleted(Result<DeleteResponse> answer);
  void create_answer(const Item& item, const CreateResponse::Result& result);
  template <class Response>
  bool answered(const Result<Response>& answer, std::vector<Item>& items, const char* doing);
  void call_failed(const std::vector<Item>& items, const Error& error, const char* doing);
  void succeeded(const Item& item);
  void fail(const Item& item, Code code, std::string message);
  void retry_due();
  LogField describe_item(const Item& item) const;

  Deps deps_;
  const Options options_;
  const Hooks hooks_;
  ActualState actual_;
  bool loaded_ = false;
  bool writes_allowed_ = false;

  std::unordered_set<EntryKey> dirty_;
  std::unordered_map<EntryKey, Failing> failing_;
  std::set<std::string> foreign_;  // ids that nothing declares and that are not ours
  std::size_t refused_ = 0;        // as told last
  // Of the batch under way.
  std::vector<Item> creating_, updating_, deleting_;
  CreateRequest create_;
  UpdateRequest update_;
  DeleteRequest delete_;
  SpireApi::Handle write_call_;
  std::size_t batch_bytes_ = 0;
  bool writing_ = false;
  kube::Backoff write_backoff_;
  io::Timer flush_timer_;
  io::Timer retry_timer_;

  SpireApi::Handle read_call_;
  bool reading_ = false;
  bool list_wanted_ = false;
  int page_size_ = kListPageSize;
  std::string page_token_;
  bool list_found_something_ = false;
  bool list_by_count_ = false;  // only because the count was another one
  SteadyTime last_list_{};
  Duration hint_wait_{};
  kube::Backoff read_backoff_;
  io::Timer gc_timer_;
};

}  // namespace steeple::controller
