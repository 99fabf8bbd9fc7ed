// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/entry_sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace steeple::controller {

namespace {

constexpr kube::BackoffOptions kEntryBackoff{
    .first = std::chrono::seconds(1), .most = std::chrono::minutes(5), .jitter = 0.2};
constexpr kube::BackoffOptions kCallBackoff{
    .first = std::chrono::milliseconds(200), .most = std::chrono::seconds(10), .jitter = 0.2};

std::string source_text(const SourceName& source, const std::string& pod) {
  switch (source.kind) {
    case SourceKind::kSpiffeId:
      return fmt::format("ClusterSPIFFEID {}, pod {}", source.name, pod);
    case SourceKind::kStaticEntry:
      return fmt::format("ClusterStaticEntry {}", source.name);
    case SourceKind::kAnnotation:
      break;
  }
  return fmt::format("annotation of pod {}", pod);
}

}  // namespace

Decision decide(const EntryKey& /*key*/, const std::optional<DesiredState::Winner>& winner,
                const std::vector<const ActualEntry*>& current) {
  Decision out;
  const ActualEntry* kept = nullptr;
  if (winner) {
    // Of several the one that is right already.
    for (const ActualEntry* entry : current) {
      if (kept == nullptr || entry->accepted == winner->content) {
        kept = entry;
      }
    }
    out.create = kept == nullptr;
    if (kept != nullptr && kept->accepted != winner->content) {
      out.update = kept->id;
    }
  }
  for (const ActualEntry* entry : current) {
    if (entry != kept && !entry->alias) {
      (entry->ours || winner ? out.remove : out.remove_foreign).push_back(entry->id);
    }
  }
  return out;
}

EntrySync::EntrySync(Deps deps, Options options, Hooks hooks)
    : deps_(deps),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      actual_(options_.ids),
      write_backoff_(deps.random, kCallBackoff),
      flush_timer_(deps.loop),
      retry_timer_(deps.loop),
      hint_wait_(options_.gc_interval),
      read_backoff_(deps.random, kCallBackoff),
      gc_timer_(deps.loop) {}

EntrySync::~EntrySync() = default;

void EntrySync::allow_writes() {
  writes_allowed_ = true;
  // Everything that stands has to be looked at once; what is desired is in take_changed().
  actual_.for_each([this](const ActualEntry& entry) { dirty_.insert(entry.key); });
  poke();
}

void EntrySync::poke() {
  if (!writing_ && !flush_timer_.pending()) {
    flush_timer_.start(Duration::zero(), [this] { flush(); });
  }
}

bool EntrySync::idle() const {
  return loaded_ && writes_allowed_ && dirty_.empty() && !writing_ && !flush_timer_.pending();
}

// --- gathering a batch ---------------------------------------------------------------------------

void EntrySync::flush() {
  if (writing_ || !loaded_ || !writes_allowed_ || options_.dry_run) {
    return;
  }
  for (const EntryKey& key : deps_.desired.take_changed()) {
    dirty_.insert(key);
    // A new declaration is a new try.
    if (auto failing = failing_.find(key); failing != failing_.end()) {
      failing->second.retry_at = {};
    }
  }
  gather();
  if (!send() && !dirty_.empty()) {
    poke();
  }
}

void EntrySync::gather() {
  SteadyTime now = deps_.loop.clock().steady();
  batch_bytes_ = 0;
  auto it = dirty_.begin();
  while (it != dirty_.end() && creating_.size() < kWriteBatchMax &&
         updating_.size() < kWriteBatchMax && deleting_.size() < kWriteBatchMax &&
         batch_bytes_ < kWriteBytesMax) {
    EntryKey key = *it;
    it = dirty_.erase(it);
    auto failing = failing_.find(key);
    if (failing == failing_.end() || failing->second.retry_at <= now) {
      take(key);
    }
  }
  if (dirty_.empty()) {
    consider_foreign();
  }
}

void EntrySync::take(const EntryKey& key) {
  std::optional<DesiredState::Winner> winner = deps_.desired.winner(key);
  std::vector<const ActualEntry*> current = actual_.of(key);
  Decision decision = decide(key, winner, current);
  for (const ActualEntry* entry : current) {
    foreign_.erase(entry->id);
  }
  foreign_.insert(decision.remove_foreign.begin(), decision.remove_foreign.end());
  for (const std::string& id : decision.remove) {
    add_delete(key, id);
  }
  if (decision.create) {
    add_create(key, *winner);
  } else if (!decision.update.empty()) {
    add_update(key, *winner, decision.update);
  } else if (auto failing = failing_.find(key); failing != failing_.end() && decision.nothing()) {
    SourceName source = failing->second.source;
    failing_.erase(failing);
    if (hooks_.touched) {
      hooks_.touched(source);
    }
  }
}

void EntrySync::add_create(const EntryKey& key, const DesiredState::Winner& winner) {
  Item item{key, winner.content, {}, winner.source, winner.pod};
  Result<Entry> entry = deps_.desired.render(key);
  if (!entry.ok()) {
    fail(item, entry.error().code, entry.error().message);
    return;
  }
  if (!options_.ids.prefix.empty()) {
    entry->set_id(options_.ids.prefix + deps_.random.uuid());
  }
  batch_bytes_ += entry->ByteSizeLong();
  *create_.add_entries() = std::move(*entry);
  creating_.push_back(std::move(item));
}

void EntrySync::add_update(const EntryKey& key, const DesiredState::Winner& winner,
                           const std::string& id) {
  Item item{key, winner.content, id, winner.source, winner.pod};
  Result<Entry> entry = deps_.desired.render(key);
  if (!entry.ok()) {
    fail(item, entry.error().code, entry.error().message);
    return;
  }
  entry->set_id(id);
  batch_bytes_ += entry->ByteSizeLong();
  *update_.add_entries() = std::move(*entry);
  updating_.push_back(std::move(item));
}

void EntrySync::add_delete(const EntryKey& key, const std::string& id) {
  delete_.add_ids(id);
  deleting_.push_back({.key = key, .id = id});
}

// Nothing else is left to do: what about the entries that nobody here has made?
void EntrySync::consider_foreign() {
  if (actual_.listing() || deps_.desired.marked() > 0) {
    return;  // the picture is not complete
  }
  std::vector<const ActualEntry*> candidates = undeclared_foreign();
  if (candidates.empty()) {
    refused_ = 0;
  } else if (!options_.limit.allows(candidates.size(), actual_.total())) {
    refuse(candidates);
    candidates.clear();
  } else {
    refused_ = 0;
  }
  if (options_.ids.cleanup) {
    actual_.for_each([&](const ActualEntry& entry) {
      if (entry.cleanup) {
        candidates.push_back(&entry);
      }
    });
  }
  SteadyTime now = deps_.loop.clock().steady();
  for (const ActualEntry* entry : candidates) {
    auto failing = failing_.find(entry->key);
    bool waits = failing != failing_.end() && failing->second.retry_at > now;
    if (!waits && deleting_.size() < kWriteBatchMax) {
      add_delete(entry->key, entry->id);
    }
  }
}

std::vector<const ActualEntry*> EntrySync::undeclared_foreign() {
  std::vector<const ActualEntry*> out;
  std::erase_if(foreign_, [&](const std::string& id) {
    const ActualEntry* entry = actual_.find(id);
    if (entry != nullptr) {
      out.push_back(entry);
    }
    return entry == nullptr;
  });
  return out;
}

void EntrySync::refuse(const std::vector<const ActualEntry*>& candidates) {
  if (std::exchange(refused_, candidates.size()) == candidates.size()) {
    return;
  }
  std::string text = fmt::format(
      "refusing to delete {} entries that nothing declares and that this controller did not "
      "create: more than maxForeignDeletions ({}) of {} entries; such as {} ({})",
      candidates.size(), options_.limit.text(), actual_.total(), candidates.front()->id,
      candidates.front()->spiffe_id);
  LOG_ERROR(deps_.log, "Deletion of foreign entries refused", {"reason", text});
  if (hooks_.refused) {
    hooks_.refused(text);
  }
}

// --- calls -------------------------------------------------------------------------------------

// One call at a time: what stands in the way goes first.
bool EntrySync::send() {
  writing_ = true;
  if (!deleting_.empty()) {
    write_call_ = deps_.spire.call<DeleteResponse>(
        method::kDeleteEntries, delete_,
        [this](Result<DeleteResponse> answer) { deleted(std::move(answer)); });
  } else if (!creating_.empty()) {
    write_call_ = deps_.spire.call<CreateResponse>(
        method::kCreateEntries, create_,
        [this](Result<CreateResponse> answer) { created(std::move(answer)); });
  } else if (!updating_.empty()) {
    write_call_ = deps_.spire.call<UpdateResponse>(
        method::kUpdateEntries, update_,
        [this](Result<UpdateResponse> answer) { updated(std::move(answer)); });
  } else {
    writing_ = false;
    retry_due();
  }
  return writing_;
}

template <class Response>
bool EntrySync::answered(const Result<Response>& answer, std::vector<Item>& items,
                         const char* doing) {
  std::vector<Item> sent = std::exchange(items, {});
  if (!answer.ok()) {
    call_failed(sent, answer.error(), doing);
    return false;
  }
  if (answer->results_size() != static_cast<int>(sent.size())) {
    call_failed(sent, internal("the server answered another number of entries"), doing);
    return false;
  }
  write_backoff_.reset();
  items = std::move(sent);
  return true;
}

// What became of the batch is not known: look again, and try again.
void EntrySync::call_failed(const std::vector<Item>& items, const Error& error, const char* doing) {
  ++deps_.counters.rpc_failures;
  Duration wait = write_backoff_.next();
  LOG_ERROR(deps_.log, doing, {"error", error}, {"retry_in", format_go_duration(wait)});
  for (const Item& item : items) {
    dirty_.insert(item.key);
    if (!item.source.name.empty()) {
      auto [failing, fresh] = failing_.try_emplace(
          item.key,
          Failing{item.source, {}, kube::Backoff(deps_.random, kEntryBackoff), SteadyTime{}});
      failing->second.failure = {error.code, error.message};
      failing->second.retry_at = {};
      if (hooks_.touched) {
        hooks_.touched(item.source);
      }
    }
  }
  // The rest of the batch waits with it.
  for (std::vector<Item>* rest : {&creating_, &updating_, &deleting_}) {
    for (const Item& item : *rest) {
      dirty_.insert(item.key);
    }
    rest->clear();
  }
  create_.Clear();
  update_.Clear();
  delete_.Clear();
  list_wanted_ = true;
  writing_ = false;
  flush_timer_.start(wait, [this] {
    if (std::exchange(list_wanted_, false)) {
      compare();
    }
    flush();
  });
}

void EntrySync::deleted(Result<DeleteResponse> answer) {
  delete_.Clear();
  if (!answered(answer, deleting_, "Failed to delete entries")) {
    return;
  }
  for (int i = 0; i < answer->results_size(); ++i) {
    const Item& item = deleting_[static_cast<std::size_t>(i)];
    auto code = static_cast<Code>(answer->results(i).status().code());
    if (code == Code::kOk || code == Code::kNotFound) {
      const ActualEntry* entry = actual_.find(item.id);
      LOG_INFO(deps_.log, "Deleted entry", {"id", item.id},
               {"spiffeID", entry == nullptr ? std::string() : entry->spiffe_id});
      foreign_.erase(item.id);
      actual_.remove(item.id);
      ++deps_.counters.entries_deleted;
      failing_.erase(item.key);
    } else {
      fail(item, code, answer->results(i).status().message());
    }
  }
  deleting_.clear();
  if (!send()) {
    poke();
  }
}

void EntrySync::create_answer(const Item& item, const CreateResponse::Result& result) {
  auto code = static_cast<Code>(result.status().code());
  if (code == Code::kOk && !result.entry().id().empty()) {
    actual_.put(result.entry(), item.content, true);
    ++deps_.counters.entries_created;
    LOG_INFO(deps_.log, "Created entry", {"id", result.entry().id()},
             {"spiffeID", spiffe_id_text(result.entry().spiffe_id())}, describe_item(item));
    succeeded(item);
  } else if (code == Code::kAlreadyExists && !result.entry().id().empty() &&
             actual_.manages(result.entry().id()) && entry_key(result.entry()) == item.key) {
    // It stood there without our knowing: take it over, then see whether it has to change.
    actual_.put(result.entry(), entry_content(result.entry()), false);
    dirty_.insert(item.key);
  } else {
    fail(item, code == Code::kOk ? Code::kInternal : code,
         code == Code::kOk ? "the server answered without an entry" : result.status().message());
  }
}

void EntrySync::created(Result<CreateResponse> answer) {
  create_.Clear();
  if (!answered(answer, creating_, "Failed to create entries")) {
    return;
  }
  for (int i = 0; i < answer->results_size(); ++i) {
    create_answer(creating_[static_cast<std::size_t>(i)], answer->results(i));
  }
  creating_.clear();
  if (!send()) {
    poke();
  }
}

void EntrySync::updated(Result<UpdateResponse> answer) {
  update_.Clear();
  if (!answered(answer, updating_, "Failed to update entries")) {
    return;
  }
  for (int i = 0; i < answer->results_size(); ++i) {
    const Item& item = updating_[static_cast<std::size_t>(i)];
    const auto& result = answer->results(i);
    auto code = static_cast<Code>(result.status().code());
    if (code == Code::kOk && result.entry().id() == item.id) {
      actual_.put(result.entry(), item.content, false);
      ++deps_.counters.entries_updated;
      LOG_INFO(deps_.log, "Updated entry", {"id", item.id},
               {"spiffeID", spiffe_id_text(result.entry().spiffe_id())}, describe_item(item));
      succeeded(item);
    } else if (code == Code::kNotFound) {
      actual_.remove(item.id);
      dirty_.insert(item.key);
    } else {
      fail(item, code == Code::kOk ? Code::kInternal : code, result.status().message());
    }
  }
  updating_.clear();
  if (!send()) {
    poke();
  }
}

LogField EntrySync::describe_item(const Item& item) const {
  return {"declared_by", source_text(item.source, item.pod)};
}

void EntrySync::succeeded(const Item& item) {
  failing_.erase(item.key);
  if (hooks_.touched) {
    hooks_.touched(item.source);
  }
}

void EntrySync::fail(const Item& item, Code code, std::string message) {
  ++deps_.counters.entry_failures;
  auto [failing, fresh] = failing_.try_emplace(
      item.key, Failing{item.source, {}, kube::Backoff(deps_.random, kEntryBackoff), SteadyTime{}});
  Duration wait = failing->second.backoff.next();
  LOG_ERROR(deps_.log, "Failed to set entry", {"code", code_name(code)}, {"error", message},
            {"id", item.id}, describe_item(item), {"retry_in", format_go_duration(wait)});
  failing->second.source = item.source;
  failing->second.failure = {code, std::move(message)};
  failing->second.retry_at = deps_.loop.clock().steady() + wait;
  if (hooks_.touched && !item.source.name.empty()) {
    hooks_.touched(item.source);
  }
}

// Wakes up for the first entry whose wait is over.
void EntrySync::retry_due() {
  retry_timer_.cancel();
  if (failing_.empty()) {
    return;
  }
  SteadyTime first = SteadyTime::max();
  for (const auto& [key, failing] : failing_) {
    first = std::min(first, failing.retry_at);
  }
  SteadyTime now = deps_.loop.clock().steady();
  retry_timer_.start(std::max<Duration>(first - now, std::chrono::milliseconds(1)), [this] {
    SteadyTime due = deps_.loop.clock().steady();
    for (const auto& [key, failing] : failing_) {
      if (failing.retry_at <= due) {
        dirty_.insert(key);
      }
    }
    flush();
  });
}

// --- what others ask ---------------------------------------------------------------------------

std::pair<std::size_t, EntryFailure> EntrySync::failures(const SourceName& source) const {
  std::pair<std::size_t, EntryFailure> out;
  for (const auto& [key, failing] : failing_) {
    if (failing.source == source) {
      if (out.first++ == 0) {
        out.second = failing.failure;
      }
    }
  }
  return out;
}

bool EntrySync::stands(const EntryKey& key) const {
  std::optional<DesiredState::Winner> winner = deps_.desired.winner(key);
  return winner && std::ranges::any_of(actual_.of(key), [&](const ActualEntry* entry) {
           return entry->accepted == winner->content;
         });
}

std::vector<std::string> EntrySync::plan() const {
  std::set<EntryKey> keys;
  deps_.desired.for_each_key([&](const EntryKey& key) { keys.insert(key); });
  actual_.for_each([&](const ActualEntry& entry) { keys.insert(entry.key); });
  std::vector<std::string> out;
  std::vector<std::string> foreign;
  auto removal = [&](const std::string& id) {
    return fmt::format("delete {} {}", id, actual_.find(id)->spiffe_id);
  };
  for (const EntryKey& key : keys) {
    auto winner = deps_.desired.winner(key);
    Decision decision = decide(key, winner, actual_.of(key));
    auto text = [&] {
      Result<Entry> entry = deps_.desired.render(key);
      return fmt::format("{} ({})", entry.ok() ? describe(*entry) : entry.error().message,
                         source_text(winner->source, winner->pod));
    };
    if (decision.create) {
      out.push_back("create " + text());
    }
    if (!decision.update.empty()) {
      out.push_back(fmt::format("update {} {}", decision.update, text()));
    }
    for (const std::string& id : decision.remove) {
      out.push_back(removal(id));
    }
    for (const std::string& id : decision.remove_foreign) {
      foreign.push_back(removal(id));
    }
  }
  actual_.for_each([&](const ActualEntry& entry) {
    if (entry.cleanup) {
      out.push_back(removal(entry.id));
    }
  });
  bool allowed = options_.limit.allows(foreign.size(), actual_.total());
  for (const std::string& line : foreign) {
    out.push_back(allowed ? line + " (not created by this controller)"
                          : "refuse to " + line + " (more than maxForeignDeletions)");
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace steeple::controller
