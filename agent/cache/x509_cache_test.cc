// SPDX-License-Identifier: Apache-2.0

// The X.509 cache: single claims first, then a randomised model test that compares it with a naive
// one after every step. No certificates are needed: an SVID is bytes here.

#include "agent/cache/x509_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/telemetry/fake_log.h"

namespace steeple::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

const spiffe::TrustDomain kDomain = spiffe::TrustDomain::parse("example.org").take();

Selector sel(const std::string& value) { return {"unix", value}; }

struct EntryOptions {
  std::int64_t revision = 0;
  std::string hint = {};
  std::int64_t created_at = 1;
  bool prefetch = true;
  std::vector<spiffe::TrustDomain> federates_with = {};
};

EntryPtr entry(const std::string& id, const std::vector<std::string>& selectors,
               const EntryOptions& options = {}, const std::string& path = {}) {
  std::vector<Selector> list;
  list.reserve(selectors.size());
  for (const std::string& value : selectors) {
    list.push_back(sel(value));
  }
  std::sort(list.begin(), list.end());
  return std::make_shared<const Entry>(Entry{
      .id = id,
      .spiffe_id =
          spiffe::SpiffeId::parse("spiffe://example.org/" + (path.empty() ? id : path)).take(),
      .selectors = std::move(list),
      .federates_with = options.federates_with,
      .revision_number = options.revision,
      .created_at = options.created_at,
      .hint = options.hint,
      .prefetch = options.prefetch});
}

TrustBundlePtr bundle(const std::string& domain, std::uint64_t sequence) {
  jose::Bundle made{.trust_domain = spiffe::TrustDomain::parse(domain).take()};
  made.sequence_number = sequence;
  return TrustBundle::make(std::move(made)).take();
}

class X509CacheTest : public ::testing::Test {
 protected:
  X509Cache make(std::size_t max = 1000) {
    return X509Cache(
        {.trust_domain = kDomain, .svids_max = max},
        {.clock = clock, .random = random, .log = log, .metrics = no_metrics(), .wished = [this] {
           ++wished;
         }});
  }
  X509SvidPtr svid(Duration life = 1h, Bytes authority = "root") {
    auto made = std::make_shared<X509Svid>();
    made->chain_der = "chain" + std::to_string(++serial);
    made->key_pkcs8 = SecretBytes("key");
    made->not_before = clock.now();
    made->not_after = clock.now() + life;
    made->authority_key_ids = {std::move(authority)};
    return made;
  }
  // Signs all present wishes; the ids.
  std::vector<std::string> sign(X509Cache& cache, std::size_t count = 1000, Duration life = 1h) {
    std::vector<SignedSvid> out;
    std::vector<std::string> ids;
    for (SvidWish& wish : cache.take_wishes(count)) {
      ids.push_back(wish.entry->id);
      out.push_back({wish.entry, svid(life)});
    }
    cache.set_svids(out);
    return ids;
  }
  static std::vector<std::string> ids(const WorkloadUpdatePtr& update) {
    std::vector<std::string> out;
    for (const X509Identity& identity : update->identities()) {
      out.push_back(identity.entry->id);
    }
    return out;
  }

  FakeClock clock;
  SeededRandom random{7};
  CapturedLog log;
  int wished = 0;
  int serial = 0;
};

TEST_F(X509CacheTest, AnEntryMatchesWhenItsSelectorsAreASubsetOfTheWorkloads) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"}), entry("b", {"uid:1", "gid:2"}),
                        entry("c", {"uid:1", "gid:3"}), entry("d", {"uid:2"})},
                       {});
  sign(cache);
  EXPECT_THAT(ids(cache.look({sel("gid:2"), sel("uid:1"), sel("path:/x")})), ElementsAre("a", "b"));
  EXPECT_THAT(ids(cache.look({})), IsEmpty());
}

TEST_F(X509CacheTest, TellsWhetherAnyEntryHasALateSelector) {
  std::vector<bool> told;
  X509Cache cache(
      {.trust_domain = kDomain,
       .late = [](const Selector& selector) { return selector.value.starts_with("late"); }},
      {.clock = clock,
       .random = random,
       .log = log,
       .metrics = no_metrics(),
       .wished = [] {},
       .late_wanted = [&](bool wanted) { told.push_back(wanted); }});
  cache.change_entries({entry("a", {"uid:1"})}, {});
  EXPECT_THAT(told, ElementsAre(false));
  cache.change_entries({entry("b", {"uid:1", "late:1"}), entry("c", {"late:2"})}, {});
  EXPECT_THAT(told, ElementsAre(false, true));
  cache.change_entries({entry("b", {"uid:1"})}, {});
  EXPECT_THAT(told, ElementsAre(false, true)) << "one is left";
  cache.change_entries({}, {"c"});
  EXPECT_THAT(told, ElementsAre(false, true, false));
}

TEST_F(X509CacheTest, ANewSubscriberIsToldAtOnceWhenTheSvidIsThere) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"})}, {});
  EXPECT_THAT(sign(cache), ElementsAre("a"));
  WorkloadUpdatePtr told;
  auto subscription = cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                                      [&](const WorkloadUpdatePtr& update) { told = update; });
  ASSERT_TRUE(told);
  EXPECT_THAT(ids(told), ElementsAre("a"));
}

TEST_F(X509CacheTest, ASubscriberWithoutEntriesIsToldSo) {
  X509Cache cache = make();
  WorkloadUpdatePtr told;
  auto subscription = cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                                      [&](const WorkloadUpdatePtr& update) { told = update; });
  ASSERT_TRUE(told);
  EXPECT_FALSE(told->has_identity());
}

TEST_F(X509CacheTest, ANewSubscriberWaitsForItsSvidAndItsWishIsTheMostUrgent) {
  X509Cache cache = make(0);  // no room for prefetching
  cache.change_entries({entry("a", {"uid:1"}), entry("b", {"uid:2"})}, {});
  EXPECT_FALSE(cache.has_wishes());
  int calls = 0;
  auto subscription = cache.subscribe({sel("uid:2")}, Interest::kX509Svids,
                                      [&](const WorkloadUpdatePtr&) { ++calls; });
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(wished, 1);
  EXPECT_TRUE(cache.has_awaited_wishes());
  EXPECT_THAT(sign(cache), ElementsAre("b"));
  EXPECT_EQ(calls, 1);
}

TEST_F(X509CacheTest, OneRefusedEntryDoesNotKeepAWorkloadFromItsOtherIdentity) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"}), entry("b", {"uid:1"})}, {});
  WorkloadUpdatePtr told;
  auto subscription = cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                                      [&](const WorkloadUpdatePtr& update) { told = update; });
  auto wishes = cache.take_wishes(10);
  ASSERT_EQ(wishes.size(), 2U);
  cache.set_svids({{wishes[0].entry, svid()}});
  EXPECT_FALSE(told) << "b may still come";
  cache.refuse_wishes({"b"});
  ASSERT_TRUE(told);
  EXPECT_THAT(ids(told), ElementsAre("a"));
  EXPECT_FALSE(cache.has_wishes()) << "a refused entry is not asked for again at once";
  clock.advance(kSvidRetryFirst);
  EXPECT_THAT(sign(cache), ElementsAre("b"));
  EXPECT_THAT(ids(told), ElementsAre("a", "b"));
}

TEST_F(X509CacheTest, ADeletedEntryReachesTheSubscriberAtOnce) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"}), entry("b", {"uid:1"})}, {});
  sign(cache);
  WorkloadUpdatePtr told;
  auto subscription = cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                                      [&](const WorkloadUpdatePtr& update) { told = update; });
  cache.change_entries({}, {"a"});
  EXPECT_THAT(ids(told), ElementsAre("b"));
  cache.change_entries({}, {"b"});
  EXPECT_FALSE(told->has_identity());
}

TEST_F(X509CacheTest, AChangedEntryKeepsItsSvidUntilTheNewOneIsThere) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"})}, {});
  sign(cache);
  std::vector<WorkloadUpdatePtr> told;
  auto subscription =
      cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                      [&](const WorkloadUpdatePtr& update) { told.push_back(update); });
  X509SvidPtr first = told.back()->identities()[0].svid;
  cache.change_entries({entry("a", {"uid:1"}, {.revision = 1})}, {});
  EXPECT_EQ(told.back()->identities()[0].svid, first);
  EXPECT_THAT(sign(cache), ElementsAre("a"));
  EXPECT_NE(told.back()->identities()[0].svid, first);
}

TEST_F(X509CacheTest, AnSvidSignedForAnOlderRevisionIsReplacedAgain) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"})}, {});
  auto wishes = cache.take_wishes(1);
  cache.change_entries({entry("a", {"uid:1"}, {.revision = 1})}, {});
  cache.set_svids({{wishes[0].entry, svid()}});
  EXPECT_THAT(sign(cache), ElementsAre("a"));
  EXPECT_FALSE(cache.has_wishes());
}

TEST_F(X509CacheTest, AnEntryThatGetsAnotherSpiffeIdLosesItsSvid) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"}, {}, "one")}, {});
  auto wishes = cache.take_wishes(1);
  cache.change_entries({entry("a", {"uid:1"}, {.revision = 1}, "two")}, {});
  cache.set_svids({{wishes[0].entry, svid()}});
  EXPECT_EQ(cache.svid_count(), 0U) << "the one just signed is another's";
  sign(cache);
  EXPECT_EQ(cache.svid_count(), 1U);
  cache.change_entries({entry("a", {"uid:1"}, {.revision = 2}, "three")}, {});
  EXPECT_EQ(cache.svid_count(), 0U);
}

TEST_F(X509CacheTest, AnSvidIsWishedForAgainAroundItsHalfLife) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"})}, {});
  sign(cache, 1, 100min);
  ASSERT_TRUE(cache.next_wish_at());
  EXPECT_GE(*cache.next_wish_at(), clock.now() + 45min);
  EXPECT_LE(*cache.next_wish_at(), clock.now() + 55min);
  clock.advance(44min);
  EXPECT_FALSE(cache.has_wishes());
  clock.advance(12min);
  EXPECT_THAT(sign(cache), ElementsAre("a"));
}

TEST_F(X509CacheTest, RenewalFailureKeepsTheValidSvid) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"})}, {});
  sign(cache, 1, 1h);
  clock.advance(40min);
  ASSERT_EQ(cache.take_wishes(10).size(), 1U);
  cache.return_wishes({"a"});
  EXPECT_TRUE(cache.has_wishes());
  EXPECT_THAT(ids(cache.look({sel("uid:1")})), ElementsAre("a"));
}

TEST_F(X509CacheTest, AnExpiredSvidIsNotGivenToANewSubscriber) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"})}, {});
  sign(cache, 1, 1h);
  int old_calls = 0;
  auto old = cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                             [&](const WorkloadUpdatePtr&) { ++old_calls; });
  clock.advance(2h);
  int new_calls = 0;
  auto fresh = cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                               [&](const WorkloadUpdatePtr&) { ++new_calls; });
  EXPECT_EQ(new_calls, 0);
  EXPECT_EQ(old_calls, 1);
  sign(cache);
  EXPECT_EQ(new_calls, 1);
  EXPECT_EQ(old_calls, 2);
}

TEST_F(X509CacheTest, TaintedSvidsAreReplacedAndStayUntilThen) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"}), entry("b", {"uid:1"})}, {});
  auto wishes = cache.take_wishes(2);
  cache.set_svids({{wishes[0].entry, svid(1h, "bad")}, {wishes[1].entry, svid(1h, "good")}});
  std::vector<WorkloadUpdatePtr> told;
  auto subscription =
      cache.subscribe({sel("uid:1")}, Interest::kX509Svids,
                      [&](const WorkloadUpdatePtr& update) { told.push_back(update); });
  cache.taint({"bad"});
  EXPECT_EQ(told.size(), 1U);
  EXPECT_THAT(ids(cache.look({sel("uid:1")})), ElementsAre("a", "b"));
  EXPECT_THAT(sign(cache), ElementsAre("a"));
  EXPECT_EQ(told.size(), 2U);
}

TEST_F(X509CacheTest, TheLimitIsSoftUsedSvidsStayAndUnusedOnesGo) {
  X509Cache cache = make(2);
  cache.change_entries({entry("a", {"uid:1"}), entry("b", {"uid:2"}), entry("c", {"uid:3"})}, {});
  EXPECT_THAT(sign(cache), ElementsAre("a", "b"));
  EXPECT_FALSE(cache.has_wishes());
  auto use = [&](const char* uid) {
    return cache.subscribe({sel(uid)}, Interest::kX509Svids, [](const WorkloadUpdatePtr&) {});
  };
  auto a = use("uid:1");
  auto c = use("uid:3");
  EXPECT_THAT(sign(cache), ElementsAre("c"));
  EXPECT_EQ(cache.svid_count(), 2U) << "b made room";
  EXPECT_FALSE(cache.has_wishes()) << "no prefetching beyond the limit";
  auto b = use("uid:2");
  EXPECT_THAT(sign(cache), ElementsAre("b"));
  EXPECT_EQ(cache.svid_count(), 3U) << "all in use";
  {
    auto gone = std::move(a);
  }
  EXPECT_EQ(cache.svid_count(), 2U);
}

TEST_F(X509CacheTest, EntriesWithoutPrefetchAreSignedOnDemand) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"}, {.prefetch = false})}, {});
  EXPECT_FALSE(cache.has_wishes());
  auto subscription =
      cache.subscribe({sel("uid:1")}, Interest::kX509Svids, [](const WorkloadUpdatePtr&) {});
  EXPECT_THAT(sign(cache), ElementsAre("a"));
}

TEST_F(X509CacheTest, OfEqualHintsTheOldestEntryStays) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"}, {.hint = "x", .created_at = 5}),
                        entry("b", {"uid:1"}, {.hint = "x", .created_at = 3}),
                        entry("c", {"uid:1"}, {.hint = "y"}), entry("d", {"uid:1"})},
                       {});
  sign(cache);
  EXPECT_THAT(ids(cache.look({sel("uid:1")})), ElementsAre("b", "c", "d"));
  EXPECT_TRUE(log.has("Ignoring entry with duplicate hint"));
}

TEST_F(X509CacheTest, BundleSubscribersNeedNoSvid) {
  X509Cache cache = make(0);
  auto other = spiffe::TrustDomain::parse("other.org").take();
  cache.set_bundles({{kDomain, bundle("example.org", 1)}, {other, bundle("other.org", 1)}});
  cache.change_entries({entry("a", {"uid:1"}, {.federates_with = {other}})}, {});
  std::vector<WorkloadUpdatePtr> told;
  auto subscription =
      cache.subscribe({sel("uid:1")}, Interest::kBundles,
                      [&](const WorkloadUpdatePtr& update) { told.push_back(update); });
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told.back()->federated_bundles().size(), 1U);
  EXPECT_FALSE(cache.has_wishes());
  cache.set_bundles({{kDomain, bundle("example.org", 1)}, {other, bundle("other.org", 2)}});
  EXPECT_EQ(told.size(), 2U);
  cache.set_bundles({{kDomain, bundle("example.org", 1)}, {other, bundle("other.org", 2)}});
  EXPECT_EQ(told.size(), 2U) << "nothing changed";
}

TEST_F(X509CacheTest, TheOwnBundleIsNeverTakenAway) {
  X509Cache cache = make();
  cache.set_bundles({{kDomain, bundle("example.org", 1)}});
  cache.set_bundles({});
  EXPECT_TRUE(cache.bundles().contains(kDomain));
}

TEST_F(X509CacheTest, AHandlerMayUnsubscribeItself) {
  X509Cache cache = make();
  cache.change_entries({entry("a", {"uid:1"})}, {});
  sign(cache);
  std::optional<X509Cache::Subscription> subscription;
  int calls = 0;
  subscription =
      cache.subscribe({sel("uid:1")}, Interest::kX509Svids, [&](const WorkloadUpdatePtr& update) {
        ++calls;
        if (!update->has_identity()) {
          subscription.reset();
        }
      });
  cache.change_entries({}, {"a"});
  cache.change_entries({entry("a", {"uid:1"})}, {});
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(cache.subscriber_count(), 0U);
}

// --- the model ---------------------------------------------------------------------------------

struct ModelSubscriber {
  std::vector<Selector> selectors;
  X509Cache::Subscription subscription;
  std::shared_ptr<WorkloadUpdatePtr> told = std::make_shared<WorkloadUpdatePtr>();
};

class Model {
 public:
  Model(std::uint64_t seed, std::size_t max)
      : random(seed),
        cache({.trust_domain = kDomain, .svids_max = max}, {.clock = clock,
                                                            .random = random,
                                                            .log = {},
                                                            .metrics = no_metrics(),
                                                            .wished = nullptr}) {}

  std::vector<std::string> some_selectors(std::size_t most) {
    std::set<std::string> out;
    std::size_t count = 1 + random.below(most);
    while (out.size() < count) {
      out.insert("s" + std::to_string(random.below(8)));
    }
    return {out.begin(), out.end()};
  }

  void change_some_entries() {
    std::map<std::string, EntryPtr> changed;
    std::set<std::string> removed;
    for (std::uint64_t i = random.below(4); i > 0; --i) {
      std::string id = "e" + std::to_string(random.below(20));
      if (random.below(3) == 0) {
        removed.insert(id);
        continue;
      }
      auto old = entries.find(id);
      EntryOptions options{
          .revision = old == entries.end() ? 0 : old->second->revision_number + 1,
          .hint = random.below(4) == 0 ? "h" + std::to_string(random.below(2)) : "",
          .created_at = static_cast<std::int64_t>(random.below(5)),
          .prefetch = random.below(4) != 0};
      changed[id] = entry(id, some_selectors(3), options, "p" + std::to_string(random.below(3)));
    }
    std::vector<EntryPtr> list;
    for (const auto& [id, made] : changed) {
      removed.erase(id);
      list.push_back(made);
      entries[id] = made;
    }
    for (const auto& id : removed) {
      entries.erase(id);
    }
    cache.change_entries(list, {removed.begin(), removed.end()});
  }

  void work_on_wishes() {
    for (SvidWish& wish : cache.take_wishes(1 + random.below(5))) {
      ASSERT_TRUE(under_way.emplace(wish.entry->id, wish.entry).second ||
                  !entries.contains(wish.entry->id) || reborn.contains(wish.entry->id))
          << "asked for twice at once";
      under_way[wish.entry->id] = wish.entry;
    }
    while (!under_way.empty() && random.below(3) != 0) {
      auto at = std::next(under_way.begin(), static_cast<long>(random.below(under_way.size())));
      switch (random.below(4)) {
        case 0:
          cache.refuse_wishes({at->first});
          break;
        case 1:
          cache.return_wishes({at->first});
          break;
        default: {
          auto made = std::make_shared<X509Svid>();
          made->not_before = clock.now();
          made->not_after = clock.now() + 10min;
          made->authority_key_ids = {random.below(2) == 0 ? "r0" : "r1"};
          cache.set_svids({{at->second, made}});
          signed_for[made.get()] = at->second;
          keep.push_back(made);
        }
      }
      under_way.erase(at);
    }
  }

  void change_subscribers() {
    if (random.below(2) == 0 || subscribers.empty()) {
      ModelSubscriber made;
      for (const std::string& name : some_selectors(5)) {
        made.selectors.push_back(sel(name));
      }
      auto told = made.told;
      made.subscription =
          cache.subscribe(made.selectors, Interest::kX509Svids,
                          [told](const WorkloadUpdatePtr& update) { *told = update; });
      subscribers.push_back(std::move(made));
    } else {
      auto at = static_cast<std::size_t>(random.below(subscribers.size()));
      std::swap(subscribers[at], subscribers.back());
      subscribers.pop_back();
    }
  }

  std::vector<EntryPtr> matching(const std::vector<Selector>& selectors) const {
    std::vector<EntryPtr> out;
    for (const auto& [id, made] : entries) {
      if (std::all_of(made->selectors.begin(), made->selectors.end(), [&](const Selector& one) {
            return std::find(selectors.begin(), selectors.end(), one) != selectors.end();
          })) {
        out.push_back(made);
      }
    }
    return without_duplicate_hints(out);
  }

  void check() {
    ASSERT_EQ(cache.entry_count(), entries.size());
    for (const ModelSubscriber& subscriber : subscribers) {
      auto expected = matching(subscriber.selectors);
      WorkloadUpdatePtr now = cache.look(subscriber.selectors);
      ASSERT_EQ(now->entries().size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(*now->entries()[i], *expected[i]);
      }
      const WorkloadUpdatePtr& told = *subscriber.told;
      if (expected.empty()) {
        ASSERT_TRUE(told && !told->has_identity());
      }
      // Time alone tells nobody anything: what has expired since stays told.
      bool aged = told && std::any_of(told->identities().begin(), told->identities().end(),
                                      [&](const X509Identity& identity) {
                                        return identity.svid->not_after <= clock.now();
                                      });
      if (told && !aged && !now->identities().empty()) {
        ASSERT_TRUE(told->same_x509_svids_as(*now)) << "a subscriber that was told once knows all";
      }
      for (const X509Identity& identity : now->identities()) {
        ASSERT_GT(identity.svid->not_after, clock.now()) << "expired";
        ASSERT_EQ(signed_for.at(identity.svid.get())->spiffe_id, identity.entry->spiffe_id);
      }
      if (!told) {
        ASSERT_TRUE(std::any_of(expected.begin(), expected.end(), [&](const EntryPtr& made) {
          return std::none_of(
              now->identities().begin(), now->identities().end(),
              [&](const X509Identity& identity) { return identity.entry->id == made->id; });
        })) << "nothing is missing, yet nothing was told";
      }
    }
  }

  FakeClock clock;
  SeededRandom random;
  X509Cache cache;
  std::map<std::string, EntryPtr> entries;
  std::map<std::string, EntryPtr> under_way;
  std::set<std::string> reborn;
  std::map<const X509Svid*, EntryPtr> signed_for;
  std::vector<X509SvidPtr> keep;
  std::vector<ModelSubscriber> subscribers;
};

TEST(X509CacheModel, EqualsANaiveCacheAfterEveryStep) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model model(seed, seed % 3 == 0 ? 3 : 1000);
    for (int step = 0; step < 200; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      switch (model.random.below(6)) {
        case 0:
        case 1: {
          auto before = model.entries;
          model.change_some_entries();
          // Entries that went and came back forget what was under way.
          for (auto& [id, made] : before) {
            if (!model.entries.contains(id)) {
              model.reborn.insert(id);
            }
          }
          break;
        }
        case 2:
        case 3:
          model.work_on_wishes();
          break;
        case 4:
          model.change_subscribers();
          break;
        default:
          if (model.random.below(10) == 0) {
            model.cache.taint({"r0"});
          } else {
            model.clock.advance(30s);
          }
      }
      model.check();
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
  }
}

}  // namespace
}  // namespace steeple::agent
