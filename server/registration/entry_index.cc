// SPDX-License-Identifier: Apache-2.0

#include "server/registration/entry_index.h"

#include <algorithm>
#include <optional>

#include "lib/base/guarded.h"
#include "lib/base/limits.h"
#include "server/registration/index_tables.h"

namespace steeple::server {
namespace {

using AgentNumber = IndexTables::AgentNumber;
using Subscriber = IndexTables::Subscriber;

// Entries changed under one hold of the lock, so that readers wait for microseconds.
constexpr std::size_t kApplyChunk = 64;
// Entries in all cached answers together; above it the cache starts anew.
constexpr std::size_t kCachedEntriesMax = 4'000'000;

}  // namespace

const IndexedEntry* AuthorizedEntries::find(std::string_view entry_id) const {
  auto at = std::lower_bound(
      entries.begin(), entries.end(), entry_id,
      [](const IndexedEntryPtr& entry, std::string_view id) { return entry->id() < id; });
  return at != entries.end() && (*at)->id() == entry_id ? at->get() : nullptr;
}

struct EntryIndex::Shared {
  struct State {
    IndexTables tables;
    std::uint64_t revision = 0;
    std::size_t cached_entries = 0;
  };
  // Held by whoever changes the index, while it reads the datastore: the last to apply a row has
  // read its newest state.
  struct Changing {
    ChangeBatch missed;  // what could not be read when it was due
  };

  Shared(spiffe::TrustDomain domain_in, Deps deps_in)
      : domain(std::move(domain_in)), deps(std::move(deps_in)) {}

  // The path of an ID of the own trust domain; empty for others.
  std::string_view own_path(std::string_view id) const {
    std::string_view scheme = "spiffe://";
    if (!id.starts_with(scheme) || !id.substr(scheme.size()).starts_with(domain.name())) {
      return {};
    }
    std::string_view path = id.substr(scheme.size() + domain.name().size());
    return path.starts_with('/') ? path : std::string_view{};
  }
  bool own(const Entry& entry) const {
    return entry.spiffe_id.member_of(domain) && entry.parent_id.member_of(domain);
  }
  void report(const Error& error) const {
    if (deps.bad_row) {
      deps.bad_row(error);
    }
  }

  Result<void> load();
  Result<void> load_locked(Changing& change);
  Result<void> apply(const ChangeBatch& batch);
  Result<void> apply_locked(const ChangeBatch& batch);

  // Notes the change for these agents and hands out who is to be told.
  using Calls = std::vector<std::pair<std::shared_ptr<Subscriber>, std::uint64_t>>;
  static void note(State& state, std::vector<AgentNumber>& concerned, Calls& calls);
  static void tell(const Calls& calls);

  spiffe::TrustDomain domain;
  Deps deps;
  Guarded<Changing> changing;
  Guarded<State> state;
  std::unique_ptr<Datastore::Subscription> from_datastore;
};

void EntryIndex::Shared::note(State& state, std::vector<AgentNumber>& concerned, Calls& calls) {
  if (concerned.empty()) {
    return;
  }
  std::sort(concerned.begin(), concerned.end());
  concerned.erase(std::unique(concerned.begin(), concerned.end()), concerned.end());
  for (AgentNumber number : concerned) {
    auto& agent = state.tables.agent(number);
    agent.revision = state.revision;
    if (agent.cached) {
      state.cached_entries -= agent.cached->entries.size();
      agent.cached.reset();
    }
    for (const auto& subscriber : agent.subscribers) {
      calls.emplace_back(subscriber, state.revision);
    }
    state.tables.forget_unused(number);
  }
  concerned.clear();
}

void EntryIndex::Shared::tell(const Calls& calls) {
  for (const auto& [subscriber, revision] : calls) {
    auto alive = subscriber->alive.lock();
    if (*alive) {
      subscriber->tell(revision);
    }
  }
}

Result<void> EntryIndex::Shared::load() {
  auto change = changing.lock();
  return load_locked(*change);
}

Result<void> EntryIndex::Shared::load_locked(Changing& change) {
  change.missed = {};
  change.missed.everything = true;  // until it is done
  IndexTables fresh;
  std::vector<AgentNumber> nobody;
  TRY(deps.datastore.scan_entries([&](Result<Entry> entry) {
    if (!entry.ok()) {
      report(entry.error());
    } else if (own(*entry)) {
      fresh.put(std::make_shared<const IndexedEntry>(*entry), nobody);
    }
  }));
  std::optional<Pagination> page = Pagination{"", limits::kListPageMax};
  AttestedNodeFilter all;
  all.fetch_selectors = true;
  do {
    auto nodes = TRY(deps.datastore.list_nodes(all, page));
    for (const AttestedNode& node : nodes.items) {
      if (auto path = own_path(node.spiffe_id.text()); !path.empty()) {
        fresh.put_agent(path, node.selectors, nobody);
      }
    }
    page->token = nodes.next;
  } while (!page->token.empty());

  Calls calls;
  {
    auto locked = state.lock();
    std::vector<AgentNumber> everyone;
    for (AgentNumber old = 0; old < locked->tables.agents(); ++old) {
      auto& agent = locked->tables.agent(old);
      if (!agent.subscribers.empty()) {
        AgentNumber number = fresh.agent_number(agent.path);
        fresh.agent(number).subscribers = agent.subscribers;
        everyone.push_back(number);
      }
    }
    std::swap(locked->tables, fresh);
    locked->cached_entries = 0;
    ++locked->revision;
    note(*locked, everyone, calls);
  }
  change.missed = {};
  tell(calls);
  return {};
}

Result<void> EntryIndex::Shared::apply(const ChangeBatch& batch) {
  auto change = changing.lock();
  if (batch.everything || change->missed.everything) {
    return load_locked(*change);
  }
  ChangeBatch all = std::exchange(change->missed, {});
  auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(all.entry_ids, batch.entry_ids);
  append(all.node_ids, batch.node_ids);
  append(all.bundles, batch.bundles);
  auto applied = apply_locked(all);
  if (!applied.ok()) {
    change->missed = std::move(all);
  }
  return applied;
}

Result<void> EntryIndex::Shared::apply_locked(const ChangeBatch& batch) {
  if (batch.empty()) {
    return {};
  }
  auto found = TRY(deps.datastore.fetch_entries(batch.entry_ids));
  auto nodes = TRY(deps.datastore.fetch_nodes(batch.node_ids));
  TextMap<IndexedEntryPtr> now;
  for (const Entry& entry : found) {
    if (own(entry)) {
      now.emplace(entry.id, std::make_shared<const IndexedEntry>(entry));
    }
  }
  TextMap<const AttestedNode*> nodes_now;
  for (const AttestedNode& node : nodes) {
    nodes_now.emplace(node.spiffe_id.text(), &node);
  }
  Calls calls;
  std::vector<AgentNumber> concerned;
  std::size_t at = 0;
  do {
    auto locked = state.lock();
    ++locked->revision;
    std::size_t end = std::min(at + kApplyChunk, batch.entry_ids.size());
    for (; at < end; ++at) {
      auto entry = now.find(batch.entry_ids[at]);
      if (entry != now.end()) {
        locked->tables.put(entry->second, concerned);
      } else {
        locked->tables.remove(batch.entry_ids[at], concerned);
      }
    }
    note(*locked, concerned, calls);
  } while (at < batch.entry_ids.size());
  {
    auto locked = state.lock();
    for (const std::string& id : batch.node_ids) {
      std::string_view path = own_path(id);
      if (path.empty()) {
        continue;
      }
      auto node = nodes_now.find(id);
      if (node != nodes_now.end()) {
        locked->tables.put_agent(path, node->second->selectors, concerned);
        // A new serial or a ban is news for the agent even if its entries stay.
        concerned.push_back(locked->tables.agent_number(path));
      } else {
        locked->tables.remove_agent(path, concerned);
      }
    }
    for (AgentNumber number = 0; !batch.bundles.empty() && number < locked->tables.agents();
         ++number) {
      if (!locked->tables.agent(number).subscribers.empty()) {
        concerned.push_back(number);
      }
    }
    note(*locked, concerned, calls);
  }
  tell(calls);
  return {};
}

// --- the index ---

namespace {

class IndexSubscription final : public EntryIndex::Subscription {
 public:
  IndexSubscription(std::function<void()> leave, std::shared_ptr<Subscriber> mine)
      : leave_(std::move(leave)), mine_(std::move(mine)) {}
  ~IndexSubscription() override {
    leave_();
    *mine_->alive.lock() = false;
  }

 private:
  std::function<void()> leave_;
  std::shared_ptr<Subscriber> mine_;
};

}  // namespace

EntryIndex::EntryIndex(const spiffe::TrustDomain& domain, Deps deps)
    : shared_(std::make_shared<Shared>(domain, std::move(deps))) {
  shared_->from_datastore =
      shared_->deps.datastore.subscribe([shared = shared_.get()](const ChangeBatch& batch) {
        auto applied = shared->apply(batch);
        if (!applied.ok()) {
          shared->report(applied.error());
        }
      });
}

EntryIndex::~EntryIndex() { shared_->from_datastore.reset(); }

Result<void> EntryIndex::load() { return shared_->load(); }
Result<void> EntryIndex::apply(const ChangeBatch& batch) { return shared_->apply(batch); }

std::shared_ptr<const AuthorizedEntries> EntryIndex::authorized_entries(
    std::string_view agent_id) const {
  std::string_view path = shared_->own_path(agent_id);
  auto state = shared_->state.lock();
  auto* agent = state->tables.find_agent(path);
  if (agent != nullptr && agent->cached) {
    return agent->cached;
  }
  auto answer = std::make_shared<AuthorizedEntries>();
  if (path.empty()) {
    return answer;
  }
  answer->entries = state->tables.authorized(path);
  if (agent == nullptr) {
    return answer;
  }
  answer->revision = agent->revision;
  state->cached_entries += answer->entries.size();
  if (state->cached_entries > kCachedEntriesMax) {
    for (AgentNumber number = 0; number < state->tables.agents(); ++number) {
      state->tables.agent(number).cached.reset();
    }
    state->cached_entries = answer->entries.size();
  }
  agent->cached = answer;
  return answer;
}

IndexedEntryPtr EntryIndex::authorized_entry(std::string_view agent_id,
                                             std::string_view entry_id) const {
  std::string_view path = shared_->own_path(agent_id);
  auto state = shared_->state.lock();
  IndexedEntryPtr entry = state->tables.find(entry_id);
  if (path.empty() || !entry || !state->tables.is_authorized(path, *entry)) {
    return nullptr;
  }
  return entry;
}

IndexedEntryPtr EntryIndex::find(std::string_view entry_id) const {
  return shared_->state.lock()->tables.find(entry_id);
}

IndexCounts EntryIndex::counts() const { return shared_->state.lock()->tables.counts(); }
std::size_t EntryIndex::entries() const { return shared_->state.lock()->tables.size(); }
std::uint64_t EntryIndex::revision() const { return shared_->state.lock()->revision; }
std::size_t EntryIndex::memory_bytes() const {
  return shared_->state.lock()->tables.memory_bytes();
}

std::unique_ptr<EntryIndex::Subscription> EntryIndex::subscribe(std::string_view agent_id,
                                                                Changed changed) {
  auto mine = std::make_shared<Subscriber>();
  mine->tell = std::move(changed);
  std::string path(shared_->own_path(agent_id));
  if (!path.empty()) {
    auto state = shared_->state.lock();
    state->tables.agent(state->tables.agent_number(path)).subscribers.push_back(mine);
  }
  auto leave = [shared = shared_, path, mine] {
    auto state = shared->state.lock();
    if (auto* agent = state->tables.find_agent(path)) {
      std::erase(agent->subscribers, mine);
      if (agent->cached && !agent->attested) {
        state->cached_entries -= agent->cached->entries.size();
        agent->cached.reset();
      }
      state->tables.forget_unused(state->tables.agent_number(path));
    }
  };
  return std::make_unique<IndexSubscription>(std::move(leave), std::move(mine));
}

std::vector<std::string> EntryIndex::agents_concerned(const Entry& entry) const {
  std::vector<std::string> ids;
  if (!shared_->own(entry)) {
    return ids;
  }
  IndexedEntry indexed(entry);
  std::vector<AgentNumber> concerned;
  auto state = shared_->state.lock();
  state->tables.agents_of(indexed.parent_path(), concerned);
  if (indexed.parent_path() == kServerPath) {
    state->tables.agents_of_alias(indexed, concerned);
  }
  for (AgentNumber number : concerned) {
    ids.push_back(shared_->domain.id_string() + state->tables.agent(number).path);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace steeple::server
