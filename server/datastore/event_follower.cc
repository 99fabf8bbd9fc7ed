// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/event_follower.h"

#include <algorithm>

namespace steeple::server {
namespace {

constexpr std::int32_t kEventsPerRead = 1000;
// Own event rows that no poll has passed yet; beyond it they are forgotten, and re-read once.
constexpr std::size_t kOwnMax = 200'000;

const std::string& subject(const EntryEvent& event) { return event.entry_id; }
const std::string& subject(const AttestedNodeEvent& event) { return event.spiffe_id; }

// The two event tables, seen alike.
struct EntryEvents {
  Datastore& datastore;
  std::vector<std::string>& found;
  auto list(std::uint64_t after) { return datastore.list_entry_events(after, kEventsPerRead); }
  auto fetch(std::span<const std::uint64_t> ids) { return datastore.fetch_entry_events(ids); }
};
struct NodeEvents {
  Datastore& datastore;
  std::vector<std::string>& found;
  auto list(std::uint64_t after) { return datastore.list_node_events(after, kEventsPerRead); }
  auto fetch(std::span<const std::uint64_t> ids) { return datastore.fetch_node_events(ids); }
};

void note(std::set<std::uint64_t>& own, const std::vector<std::uint64_t>& ids) {
  if (own.size() + ids.size() > kOwnMax) {
    own.clear();
  }
  own.insert(ids.begin(), ids.end());
}

void unique_only(std::vector<std::string>& texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
}

}  // namespace

EventFollower::EventFollower(Duration event_timeout, Deps deps)
    : event_timeout_(event_timeout), deps_(deps) {
  subscription_ = deps_.datastore.subscribe([this](const ChangeBatch& batch) {
    if (!batch.entry_events.empty() || !batch.node_events.empty()) {
      auto own = own_.lock();
      note(own->entry_events, batch.entry_events);
      note(own->node_events, batch.node_events);
    }
  });
}

Result<std::unique_ptr<EventFollower>> EventFollower::start(Duration event_timeout, Deps deps) {
  auto follower = std::make_unique<EventFollower>(event_timeout, deps);
  EventPosition position = TRY(deps.datastore.event_position());
  follower->entries_.last = position.entry_event;
  follower->nodes_.last = position.node_event;
  follower->bundles_ = TRY(deps.datastore.bundle_versions());
  // Transactions under way at the start may still fill the gaps among the newest ids.
  auto back = [](std::uint64_t id) { return id > kSkippedMax ? id - kSkippedMax : 0; };
  follower->look_back(follower->entries_, TRY(deps.datastore.list_entry_events(
                                              back(position.entry_event), kEventsPerRead)));
  follower->look_back(follower->nodes_, TRY(deps.datastore.list_node_events(
                                            back(position.node_event), kEventsPerRead)));
  return follower;
}

template <class Event>
void EventFollower::look_back(Table& table, std::vector<Event> recent) {
  for (std::size_t i = 1; i < recent.size(); ++i) {
    skip(table, recent[i - 1].id + 1, std::min(recent[i].id, table.last + 1));
  }
  if (!recent.empty()) {
    skip(table, recent.back().id + 1, table.last + 1);
  }
}

// Waits for the ids in [from, to). False when that are too many.
bool EventFollower::skip(Table& table, std::uint64_t from, std::uint64_t to) {
  if (from >= to) {
    return true;
  }
  if (to - from > kSkippedMax - std::min(kSkippedMax, table.skipped.size())) {
    return false;
  }
  SteadyTime until = deps_.clock.steady() + event_timeout_;
  for (std::uint64_t id = from; id < to; ++id) {
    table.skipped.emplace(id, until);
  }
  return true;
}

template <class Reader>
Result<void> EventFollower::follow(Table& table, std::set<std::uint64_t> Own::* own,
                                   std::uint64_t counter, Reader reader) {
  if (counter < table.last) {
    table = {.last = counter, .skipped = {}};
    found_.everything = true;
  }
  SteadyTime now = deps_.clock.steady();
  std::erase_if(table.skipped, [now](const auto& skipped) { return skipped.second <= now; });
  if (!table.skipped.empty()) {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, until] : table.skipped) {
      ids.push_back(id);
    }
    for (const auto& event : TRY(reader.fetch(ids))) {
      if ((*own_.lock().*own).erase(event.id) == 0) {
        reader.found.push_back(subject(event));
      }
      table.skipped.erase(event.id);
    }
  }
  while (table.last < counter) {
    auto events = TRY(reader.list(table.last));
    auto mine = own_.lock();
    for (const auto& event : events) {
      found_.everything = !skip(table, table.last + 1, event.id) || found_.everything;
      if (((*mine).*own).erase(event.id) == 0) {
        reader.found.push_back(subject(event));
      }
      table.last = event.id;
    }
    if (events.empty()) {  // the counter stands above all that can be seen
      found_.everything = !skip(table, table.last + 1, counter + 1) || found_.everything;
      table.last = counter;
    }
  }
  // Those that were told after they had been passed as another's.
  auto mine = own_.lock();
  auto& ids = (*mine).*own;
  std::erase_if(
      ids, [&table](std::uint64_t id) { return id <= table.last && !table.skipped.contains(id); });
  return {};
}

Result<void> EventFollower::follow_bundles() {
  auto now = TRY(deps_.datastore.bundle_versions());
  auto changed = [this](const std::string& name) {
    auto domain = spiffe::TrustDomain::parse(name);
    if (domain.ok()) {
      found_.bundles.push_back(std::move(*domain));
    }
  };
  for (const auto& [name, version] : now) {
    auto before = bundles_.find(name);
    if (before == bundles_.end() || before->second != version) {
      changed(name);
    }
  }
  for (const auto& [name, version] : bundles_) {
    if (!now.contains(name)) {
      changed(name);
    }
  }
  bundles_ = std::move(now);
  return {};
}

Result<ChangeBatch> EventFollower::poll() {
  EventPosition counters = TRY(deps_.datastore.event_position());
  TRY(follow(entries_, &Own::entry_events, counters.entry_event,
             EntryEvents{deps_.datastore, found_.entry_ids}));
  TRY(follow(nodes_, &Own::node_events, counters.node_event,
             NodeEvents{deps_.datastore, found_.node_ids}));
  TRY(follow_bundles());
  unique_only(found_.entry_ids);
  unique_only(found_.node_ids);
  return std::exchange(found_, {});
}

}  // namespace steeple::server
