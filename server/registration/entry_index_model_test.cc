// SPDX-License-Identifier: Apache-2.0

// Goal: after thousands of random changes the index equals a naive model and a fresh load, every
// agent whose entries changed was told, and nobody else was; a third of the changes are made by a
// second datastore on the same file, as another server would. Method: a small world of IDs, so that
// chains, cycles and aliases form by chance; seeded, so that a failure replays.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "server/datastore/event_follower.h"
#include "server/datastore/testing.h"
#include "server/registration/entry_index.h"

namespace steeple::server {
namespace {

using Ids = std::set<std::string>;
// What an agent sees: id and revision of each of its entries.
using View = std::map<std::string, std::int64_t>;

constexpr int kAgents = 5;
constexpr std::size_t kEntries = 24;
constexpr int kSteps = 400;

// The rules of surface 5.5 written as plainly as can be.
class Model {
 public:
  std::map<std::string, Entry> entries;
  std::map<std::string, std::vector<Selector>> nodes;  // by SPIFFE ID

  View view(const std::string& agent) const {
    Ids parents{agent};
    for (const auto& [entry_id, entry] : entries) {
      if (is_alias(entry) && has(agent, entry.selectors)) {
        parents.insert(entry.spiffe_id.text());
      }
    }
    View found;
    for (bool grown = true; grown;) {
      grown = false;
      for (const auto& [entry_id, entry] : entries) {
        if (parents.contains(entry.parent_id.text()) &&
            found.emplace(entry_id, entry.revision_number).second) {
          parents.insert(entry.spiffe_id.text());
          grown = true;
        }
      }
    }
    return found;
  }

  // Whether this entry stands below the agent or below one of its aliases, or is such an alias.
  bool concerns(const Entry& entry, const std::string& agent) const {
    Ids above;
    Ids next{entry.parent_id.text()};
    if (is_alias(entry) && has(agent, entry.selectors)) {
      return true;
    }
    while (!next.empty()) {
      std::string at = *next.begin();
      next.erase(next.begin());
      if (at == agent) {
        return true;
      }
      if (!above.insert(at).second) {
        continue;
      }
      for (const auto& [entry_id, parent] : entries) {
        if (parent.spiffe_id.text() == at) {
          next.insert(parent.parent_id.text());
          if (is_alias(parent) && has(agent, parent.selectors)) {
            return true;
          }
        }
      }
    }
    return false;
  }

 private:
  static bool is_alias(const Entry& entry) { return entry.parent_id == id("/spire/server"); }
  bool has(const std::string& agent, const std::vector<Selector>& selectors) const {
    auto node = nodes.find(agent);
    return node != nodes.end() &&
           std::all_of(selectors.begin(), selectors.end(), [&node](const Selector& selector) {
             return std::count(node->second.begin(), node->second.end(), selector) > 0;
           });
  }
};

class ModelTest : public testing::TestWithParam<std::uint64_t> {
 protected:
  ModelTest()
      : random_(GetParam()),
        store_(open_sql_datastore(open_file(folder_.file("db")), clock_, random_).take()),
        theirs_(open_sql_datastore(open_file(folder_.file("db")), clock_, random_).take()),
        follower_(EventFollower::start(EventFollower::kEventTimeout,
                                       {.datastore = *store_, .clock = clock_})
                      .take()),
        index_(domain("example.org"), {.datastore = *store_}) {
    EXPECT_TRUE(index_.load().ok());
    for (int i = 0; i < kAgents; ++i) {
      agents_.push_back(id("/spire/agent/" + std::to_string(i)).text());
      subscriptions_.push_back(
          index_.subscribe(agents_.back(), [this, i](std::uint64_t) { told_.insert(i); }));
    }
  }

  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }
  spiffe::SpiffeId random_parent() {
    switch (below(4)) {
      case 0:
        return id("/spire/server");
      case 1:
        return id("/spire/agent/" + std::to_string(below(kAgents)));
      default:
        return id("/x" + std::to_string(below(8)));
    }
  }
  std::vector<Selector> random_selectors(std::uint64_t more_than) {
    std::set<Selector> selectors;
    for (std::uint64_t i = more_than + below(3); i > 0; --i) {
      selectors.insert({"s", std::to_string(below(4))});
    }
    return {selectors.begin(), selectors.end()};
  }
  Entry random_entry(const std::string& entry_id) {
    Entry entry{.id = entry_id,
                .spiffe_id = id("/x" + std::to_string(below(8))),
                .parent_id = random_parent(),
                .selectors = random_selectors(1)};
    entry.hint = std::to_string(below(1'000'000));
    return entry;
  }

  // Notes whom the change of this entry may concern, before and after.
  void may_concern(const std::string& entry_id) {
    auto at = model_.entries.find(entry_id);
    for (int i = 0; at != model_.entries.end() && i < kAgents; ++i) {
      if (model_.concerns(at->second, agents_[static_cast<std::size_t>(i)])) {
        expected_.insert(i);
      }
    }
  }

  void create_some() {
    std::vector<Entry> batch;
    for (std::uint64_t i = 1 + below(3); i > 0; --i) {
      batch.push_back(random_entry("e" + std::to_string(next_id_++)));
    }
    std::vector<std::string> made;
    for (const auto& result : writer_->create_entries(batch).take()) {
      if (!result->already_existed) {
        model_.entries.emplace(result->entry.id, result->entry);
        made.push_back(result->entry.id);
      }
    }
    for (const auto& entry_id : made) {
      may_concern(entry_id);
    }
  }
  void update_one() {
    Entry change = random_entry(random_id());
    may_concern(change.id);
    EntryMask mask;
    mask.parent_id = below(2) == 0;
    mask.spiffe_id = below(2) == 0;
    mask.selectors = below(2) == 0;
    auto updated = writer_->update_entries({{change, mask}}).take();
    if (updated[0].ok()) {
      model_.entries.insert_or_assign(change.id, *updated[0]);
      may_concern(change.id);
    }
  }
  void delete_some() {
    std::vector<std::string> ids{random_id(), random_id()};
    for (const auto& entry_id : ids) {
      may_concern(entry_id);
    }
    auto results = writer_->delete_entries(ids).take();
    for (const auto& entry_id : ids) {
      model_.entries.erase(entry_id);
    }
  }
  void change_agent() {
    auto number = static_cast<int>(below(kAgents));
    const std::string& agent = agents_[static_cast<std::size_t>(number)];
    auto node_id = spiffe::SpiffeId::parse(agent).take();
    expected_.insert(number);
    if (below(4) == 0) {
      static_cast<void>(writer_->delete_node(node_id).ok());
      model_.nodes.erase(agent);
      return;
    }
    if (!model_.nodes.contains(agent)) {
      ASSERT_TRUE(writer_->create_node({.spiffe_id = node_id, .serial = "1"}).ok());
    }
    auto selectors = random_selectors(0);
    ASSERT_TRUE(writer_->set_node_selectors(node_id, selectors).ok());
    model_.nodes[agent] = selectors;
  }
  // Mostly one that exists.
  std::string random_id() {
    if (model_.entries.empty() || below(10) == 0) {
      return "e" + std::to_string(below(next_id_ + 1));
    }
    auto at = model_.entries.begin();
    std::advance(at, below(model_.entries.size()));
    return at->first;
  }

  static View view(const EntryIndex& index, const std::string& agent) {
    View seen;
    auto answer = index.authorized_entries(agent);
    for (const auto& entry : answer->entries) {
      EXPECT_TRUE(seen.emplace(entry->id(), entry->revision_number()).second) << "twice";
    }
    EXPECT_TRUE(std::is_sorted(answer->entries.begin(), answer->entries.end(),
                               [](const auto& a, const auto& b) { return a->id() < b->id(); }));
    return seen;
  }

  void check(const EntryIndex& index) {
    ASSERT_EQ(index.entries(), model_.entries.size());
    for (const std::string& agent : agents_) {
      View expected = model_.view(agent);
      ASSERT_EQ(view(index, agent), expected) << agent;
      for (const auto& [entry_id, entry] : model_.entries) {
        bool may = index.authorized_entry(agent, entry_id) != nullptr;
        ASSERT_EQ(may, expected.contains(entry_id)) << agent << " " << entry_id;
      }
    }
  }

  FakeClock clock_;
  SeededRandom random_;
  TestFolder folder_;
  std::unique_ptr<Datastore> store_;
  std::unique_ptr<Datastore> theirs_;  // another server's
  std::unique_ptr<EventFollower> follower_;
  EntryIndex index_;
  Model model_;
  std::vector<std::string> agents_;
  std::set<int> told_, expected_;
  Datastore* writer_ = nullptr;  // of this step
  std::uint64_t next_id_ = 0;
  std::vector<std::unique_ptr<EntryIndex::Subscription>> subscriptions_;
};

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, testing::Range<std::uint64_t>(1, 9));

TEST_P(ModelTest, TheIndexEqualsTheModelAndTellsExactlyWhomItConcerns) {
  std::vector<View> before(kAgents);
  for (int step = 0; step < kSteps; ++step) {
    told_.clear();
    expected_.clear();
    writer_ = below(3) == 0 ? theirs_.get() : store_.get();
    auto kind = below(10);
    if (kind < 4 && model_.entries.size() < kEntries) {
      create_some();
    } else if (kind < 6) {
      update_one();
    } else if (kind < 8 || model_.entries.size() >= kEntries) {
      delete_some();
    } else {
      change_agent();
    }
    if (writer_ == theirs_.get() || below(4) == 0) {
      auto news = follower_->poll().take();
      ASSERT_TRUE(writer_ == theirs_.get() || news.empty()) << "own changes came back";
      ASSERT_FALSE(news.everything);
      store_->announce(std::move(news));
    }
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + " step " + std::to_string(step));
    ASSERT_NO_FATAL_FAILURE(check(index_));
    for (int i = 0; i < kAgents; ++i) {
      auto at = static_cast<std::size_t>(i);
      View now = view(index_, agents_[at]);
      ASSERT_TRUE(now == before[at] || told_.contains(i)) << "agent " << i << " was not told";
      ASSERT_TRUE(!told_.contains(i) || expected_.contains(i)) << "agent " << i << " was told";
      before[at] = std::move(now);
    }
    if (step % 100 == 99) {
      EntryIndex fresh(domain("example.org"), {.datastore = *store_});
      ASSERT_TRUE(fresh.load().ok());
      ASSERT_NO_FATAL_FAILURE(check(fresh));
    }
  }
}

}  // namespace
}  // namespace steeple::server
