// SPDX-License-Identifier: Apache-2.0

// Goal: the contract of Datastore, on a file and in memory: entries, tokens, events, listeners.
// (Nodes and bundles: datastore_nodes_test.cc, datastore_bundles_test.cc.)

#include <algorithm>
#include <atomic>
#include <thread>

#include "server/datastore/testing.h"

namespace steeple::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class EntryContract : public DatastoreContract {};
INSTANTIATE_TEST_SUITE_P(Drivers, EntryContract, testing::Bool(), driver_name);

std::vector<std::string> ids_of(const Page<Entry>& page) {
  std::vector<std::string> ids;
  for (const Entry& entry : page.items) {
    ids.push_back(entry.id);
  }
  return ids;
}

TEST_P(EntryContract, AnEntryIsReadBackAsItWasWritten) {
  ASSERT_TRUE(store().create_bundle(bundle_of("other.org")).ok());
  Entry entry = entry_of("/web", {{"unix", "gid:2"}, {"unix", "uid:1"}});
  entry.federates_with = {domain("other.org")};
  entry.dns_names = {"b.example", "a.example"};
  entry.x509_svid_ttl = std::chrono::seconds(600);
  entry.jwt_svid_ttl = std::chrono::seconds(60);
  entry.admin = entry.downstream = true;
  entry.jwt_svid_include_jti = true;
  entry.hint = "h";
  entry.expires_at = 4'000'000'000;
  auto created = create(entry);
  EXPECT_EQ(created.id.size(), 36U);
  EXPECT_EQ(created.created_at, to_unix_seconds(clock_.now()));
  entry.id = created.id;
  entry.created_at = created.created_at;
  EXPECT_EQ(created, entry);
  EXPECT_EQ(store().fetch_entry(created.id).take(), entry);
  EXPECT_EQ(store().fetch_entry("none").take(), std::nullopt);
}

TEST_P(EntryContract, ASimilarEntryIsGivenBackInsteadOfASecondOne) {
  auto first = create(entry_of("/web", {{"a", "1"}, {"b", "2"}}));
  auto same = entry_of("/web", {{"b", "2"}, {"a", "1"}});
  auto fewer = entry_of("/web", {{"a", "1"}});
  auto elsewhere = same;
  elsewhere.parent_id = id("/agent2");
  auto results = store().create_entries({same, fewer, elsewhere}).take();
  ASSERT_EQ(results.size(), 3U);
  EXPECT_TRUE(results[0]->already_existed);
  EXPECT_EQ(results[0]->entry.id, first.id);
  EXPECT_FALSE(results[1]->already_existed);
  EXPECT_FALSE(results[2]->already_existed);
}

TEST_P(EntryContract, ManyEntriesWithOneSpiffeIdStillFindTheirDuplicate) {
  std::vector<Entry> entries;
  for (int i = 0; i < 100; ++i) {
    entries.push_back(entry_of("/web", {{"a", "1"}}));
    entries.back().parent_id = id("/agent" + std::to_string(i));
  }
  for (const auto& result : store().create_entries(entries).take()) {
    EXPECT_FALSE(result->already_existed);
  }
  for (const auto& result : store().create_entries(entries).take()) {
    EXPECT_TRUE(result->already_existed);
  }
}

TEST_P(EntryContract, OneBadItemOfABatchLeavesTheOthers) {
  auto unknown_bundle = entry_of("/b", {{"a", "1"}});
  unknown_bundle.federates_with = {domain("nowhere.org")};
  auto repeated = entry_of("/c", {{"a", "1"}, {"a", "1"}});
  auto taken = entry_of("/d", {{"a", "1"}});
  taken.id = "mine";
  auto taken_again = entry_of("/e", {{"a", "1"}});
  taken_again.id = "mine";
  auto results = store()
                     .create_entries({entry_of("/a", {{"a", "1"}}), unknown_bundle, repeated, taken,
                                      taken_again, entry_of("/f", {})})
                     .take();
  EXPECT_TRUE(results[0].ok());
  EXPECT_EQ(results[1].error().message, "unable to find federated bundle \"spiffe://nowhere.org\"");
  EXPECT_EQ(results[2].error().code, Code::kAlreadyExists);
  EXPECT_EQ(results[2].error().message,
            "datastore-sql: UNIQUE constraint failed: selectors.registered_entry_id, "
            "selectors.type, selectors.value");
  EXPECT_TRUE(results[3].ok());
  EXPECT_EQ(results[4].error().message,
            "datastore-sql: UNIQUE constraint failed: registered_entries.entry_id");
  EXPECT_EQ(results[5].error().message,
            "datastore-validation: invalid registration entry: missing selector list");
  EXPECT_EQ(store().count_entries({}).take(), 2);
  auto rows = TestRows(*database_);
  EXPECT_EQ(rows.count("selectors"), 2);  // nothing of the failed items is left behind
  EXPECT_EQ(rows.count("registered_entries_events"), 2);
}

TEST_P(EntryContract, TheRulesOfEntriesAreSpires) {
  auto refused = [this](auto change) {
    Entry entry = entry_of("/web", {{"a", "1"}});
    change(entry);
    auto results = store().create_entries({entry}).take();
    return results[0].ok() ? std::string("created") : results[0].error().message;
  };
  EXPECT_EQ(refused([](Entry& e) { e.id = "a/b"; }),
            "datastore-validation: invalid registration entry: entry ID contains invalid "
            "characters");
  EXPECT_EQ(refused([](Entry& e) { e.id = std::string(256, 'a'); }),
            "datastore-validation: invalid registration entry: entry ID too long");
  EXPECT_EQ(refused([](Entry& e) { e.x509_svid_ttl = std::chrono::seconds(-1); }),
            "datastore-validation: invalid registration entry: X509SvidTtl is not set");
  EXPECT_EQ(refused([](Entry& e) { e.jwt_svid_ttl = std::chrono::seconds(-1); }),
            "datastore-validation: invalid registration entry: JwtSvidTtl is not set");
  EXPECT_EQ(refused([](Entry& e) {
              e.store_svid = true;
              e.selectors.push_back({"b", "1"});
            }),
            "datastore-validation: invalid registration entry: selector types must be the same "
            "when store SVID is enabled");
  EXPECT_EQ(refused([](Entry& e) { e.store_svid = e.disable_x509_svid_prefetch = true; }),
            "datastore-validation: specifying cache behaviour is incompatible with storable "
            "SVIDs");
}

TEST_P(EntryContract, ListsFilterByEachFieldAndByAllTogether) {
  ASSERT_TRUE(store().create_bundle(bundle_of("one.org")).ok());
  ASSERT_TRUE(store().create_bundle(bundle_of("two.org")).ok());
  auto named = [](Entry entry, std::string entry_id) {
    entry.id = std::move(entry_id);
    return entry;
  };
  auto a = named(entry_of("/a", {{"s", "1"}}), "a");
  auto b = named(entry_of("/b", {{"s", "1"}, {"s", "2"}}), "b");
  b.hint = "hint";
  b.federates_with = {domain("one.org")};
  auto c = named(entry_of("/c", {{"s", "2"}, {"s", "3"}}), "c");
  c.parent_id = id("/other");
  c.downstream = true;
  c.federates_with = {domain("one.org"), domain("two.org")};
  for (const auto& result : store().create_entries({a, b, c}).take()) {
    ASSERT_TRUE(result.ok()) << result.error().message;
  }
  auto list = [this](const EntryFilter& filter) {
    auto page = store().list_entries(filter, std::nullopt);
    EXPECT_TRUE(page.ok()) << page.error().message;
    EXPECT_EQ(store().count_entries(filter).take(), std::ssize(page->items));
    return ids_of(*page);
  };
  auto selectors = [](std::vector<Selector> set, Match match) {
    return EntryFilter{.selectors = SelectorFilter{std::move(set), match}};
  };
  auto federates = [](std::vector<std::string> names, Match match) {
    TrustDomainFilter filter{{}, match};
    for (const auto& name : names) {
      filter.trust_domains.push_back(domain(name));
    }
    return EntryFilter{.federates_with = filter};
  };
  EXPECT_THAT(list({}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(list({.parent_id = id("/other")}), ElementsAre("c"));
  EXPECT_THAT(list({.spiffe_id = id("/b")}), ElementsAre("b"));
  EXPECT_THAT(list({.hint = "hint"}), ElementsAre("b"));
  EXPECT_THAT(list({.downstream = true}), ElementsAre("c"));
  EXPECT_THAT(list({.downstream = false}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(list(selectors({{"s", "1"}}, Match::kExact)), ElementsAre("a"));
  EXPECT_THAT(list(selectors({{"s", "1"}}, Match::kSuperset)), ElementsAre("a", "b"));
  EXPECT_THAT(list(selectors({{"s", "1"}, {"s", "2"}}, Match::kExact)), ElementsAre("b"));
  EXPECT_THAT(list(selectors({{"s", "1"}, {"s", "2"}}, Match::kSubset)), ElementsAre("a", "b"));
  EXPECT_THAT(list(selectors({{"s", "3"}, {"s", "1"}}, Match::kAny)), ElementsAre("a", "b", "c"));
  EXPECT_THAT(list(selectors({{"s", "9"}}, Match::kAny)), IsEmpty());
  EXPECT_THAT(list(federates({"one.org"}, Match::kExact)), ElementsAre("b"));
  EXPECT_THAT(list(federates({"one.org"}, Match::kSuperset)), ElementsAre("b", "c"));
  EXPECT_THAT(list(federates({"one.org", "one.org"}, Match::kSubset)), ElementsAre("b"));
  EXPECT_THAT(list(federates({"two.org"}, Match::kAny)), ElementsAre("c"));
  EXPECT_THAT(list(federates({"one.org", "two.org"}, Match::kExact)), ElementsAre("c"));
  auto all = selectors({{"s", "2"}}, Match::kAny);
  all.parent_id = id("/agent");
  all.federates_with = TrustDomainFilter{{domain("one.org")}, Match::kAny};
  EXPECT_THAT(list(all), ElementsAre("b"));
  EXPECT_EQ(store().list_entries(selectors({}, Match::kAny), std::nullopt).error().message,
            "cannot list by empty selector set");
}

TEST_P(EntryContract, PagesWalkAllEntriesOnce) {
  for (int i = 0; i < 25; ++i) {
    auto entry = entry_of("/w" + std::to_string(i), {{"s", std::to_string(i % 2)}});
    entry.id = fmt::format("e{:02}", i);
    create(entry);
  }
  EntryFilter odd{.selectors = SelectorFilter{{{"s", "1"}}, Match::kExact}};
  std::vector<std::string> seen;
  Pagination page{"", 5};
  int pages = 0;
  do {
    auto answer = store().list_entries(odd, page).take();
    for (const auto& entry_id : ids_of(answer)) {
      seen.push_back(entry_id);
    }
    page.token = answer.next;
    ++pages;
  } while (!page.token.empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(seen.size(), 12U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(store().list_entries({}, Pagination{"x", 5}).error().message,
            "could not parse token 'x'");
  EXPECT_EQ(store().list_entries({}, Pagination{"", 0}).error().message,
            "cannot paginate with pagesize = 0");
  EXPECT_THAT(store().list_entries({}, Pagination{"18446744073709551615", 5})->items, IsEmpty());
}

TEST_P(EntryContract, AnUpdateWritesTheFieldsOfItsMaskAndCountsTheRevision) {
  auto entry = entry_of("/web", {{"a", "1"}, {"a", "2"}});
  entry.dns_names = {"one.example"};
  entry = create(entry);
  Entry change = entry_of("/new", {{"b", "1"}});
  change.id = entry.id;
  change.hint = "new";
  EntryMask mask = EntryMask::none();
  mask.hint = true;
  auto updated = store().update_entries({{change, mask}}).take();
  entry.hint = "new";
  entry.revision_number = 1;
  EXPECT_EQ(*updated[0], entry);
  updated = store().update_entries({{change, {}}}).take();
  change.revision_number = 2;
  change.created_at = entry.created_at;
  EXPECT_EQ(*updated[0], change);
  EXPECT_EQ(store().fetch_entry(entry.id).take(), change);
  change.id = "none";
  auto missing = store().update_entries({{change, {}}}).take();
  EXPECT_EQ(missing[0].error().message, "datastore-sql: record not found");
  EXPECT_EQ(missing[0].error().code, Code::kNotFound);
}

TEST_P(EntryContract, AFailedUpdateChangesNothing) {
  auto entry = create(entry_of("/web", {{"a", "1"}}));
  Entry change = entry;
  change.selectors = {{"b", "1"}};
  change.federates_with = {domain("nowhere.org")};
  auto results = store().update_entries({{change, {}}}).take();
  EXPECT_FALSE(results[0].ok());
  EXPECT_EQ(store().fetch_entry(entry.id).take(), entry);
}

TEST_P(EntryContract, DeleteTakesTheEntryAndAllThatHangsOnIt) {
  auto entry = entry_of("/web", {{"a", "1"}});
  entry.dns_names = {"one.example"};
  entry = create(entry);
  const std::vector<std::string> ids{entry.id, "none", entry.id};
  auto results = store().delete_entries(ids).take();
  EXPECT_EQ(*results[0], entry);
  EXPECT_EQ(results[1].error().message, "datastore-sql: record not found");
  EXPECT_EQ(results[2].error().code, Code::kNotFound);
  auto rows = TestRows(*database_);
  for (const char* table : {"registered_entries", "selectors", "dns_names"}) {
    EXPECT_EQ(rows.count(table), 0) << table;
  }
}

TEST_P(EntryContract, PruneTakesExpiredEntriesOnly) {
  auto old = entry_of("/old", {{"a", "1"}});
  old.expires_at = 99;
  auto fresh = entry_of("/fresh", {{"a", "1"}});
  fresh.expires_at = 100;
  old = create(old);
  create(fresh);
  create(entry_of("/forever", {{"a", "1"}}));
  auto pruned = store().prune_entries(100).take();
  EXPECT_THAT(pruned, ElementsAre(old));
  EXPECT_EQ(store().count_entries({}).take(), 2);
}

TEST_P(EntryContract, FetchTakesAnyNumberOfIds) {
  std::vector<std::string> ids;
  std::vector<Entry> entries;
  for (int i = 0; i < 1300; ++i) {
    entries.push_back(entry_of("/w" + std::to_string(i), {{"a", "1"}}));
    entries.back().id = "e" + std::to_string(i);
    ids.push_back(entries.back().id);
  }
  ASSERT_TRUE(store().create_entries(entries).ok());
  ids.push_back("none");
  EXPECT_EQ(store().fetch_entries(ids)->size(), 1300U);
  EXPECT_THAT(store().fetch_entries({}).take(), IsEmpty());
}

TEST_P(EntryContract, EveryChangeIsToldOnceAfterItsCommitAndHasItsEvent) {
  std::vector<ChangeBatch> told;
  auto subscription = store().subscribe([&](const ChangeBatch& batch) {
    if (!batch.entry_ids.empty()) {  // committed already: another connection sees it
      EXPECT_TRUE(store().fetch_entries(batch.entry_ids).ok());
    }
    told.push_back(batch);
  });
  auto entry = create(entry_of("/web", {{"a", "1"}}));
  create_again(entry);
  ASSERT_TRUE(store().update_entries({{entry, {}}}).ok());
  const std::vector<std::string> ids{entry.id};
  ASSERT_TRUE(store().delete_entries(ids).ok());
  ASSERT_EQ(told.size(), 3U);
  for (std::size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].revision, i + 1);
    EXPECT_THAT(told[i].entry_ids, ElementsAre(entry.id));
  }
  auto events = store().list_entry_events(0, 10).take();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[2].entry_id, entry.id);
  EXPECT_EQ(store().list_entry_events(events[1].id, 10)->size(), 1U);
  EXPECT_EQ(store().event_position()->entry_event, events[2].id);
  subscription.reset();
  create(entry_of("/other", {{"a", "1"}}));
  EXPECT_EQ(told.size(), 3U);
  ASSERT_TRUE(store().prune_events(to_unix_seconds(clock_.now()) + 1).ok());
  EXPECT_THAT(store().list_entry_events(0, 10).take(), IsEmpty());
  EXPECT_EQ(store().event_position()->entry_event, events[2].id + 1);
}

TEST_P(EntryContract, AJoinTokenIsSpentOnceAmongAHundredTries) {
  ASSERT_TRUE(store().create_join_token({"token", 500}, std::nullopt).ok());
  EXPECT_EQ(store().fetch_join_token("token").take(), (JoinToken{"token", 500}));
  std::atomic<int> got = 0;
  {
    std::vector<std::jthread> threads;  // the test's own; the product uses Workers
    for (int i = 0; i < 10; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 10; ++j) {
          auto spent = store().spend_join_token("token");
          ASSERT_TRUE(spent.ok()) << spent.error().message;
          got += spent->has_value() ? 1 : 0;
        }
      });
    }
  }
  EXPECT_EQ(got, 1);
  EXPECT_EQ(store().fetch_join_token("token").take(), std::nullopt);
}

TEST_P(EntryContract, JoinTokensArePrunedDeletedAndComeWithTheirAlias) {
  auto alias = entry_of("/agent1", {{"spiffe_id", id("/spire/agent/join_token/t1").text()}});
  alias.parent_id = id("/spire/agent/join_token/t1");
  ASSERT_TRUE(store().create_join_token({"t1", 500}, alias).ok());
  EXPECT_EQ(store().count_entries({.parent_id = alias.parent_id}).take(), 1);
  EXPECT_EQ(store().create_join_token({"t1", 500}, std::nullopt).error().code,
            Code::kAlreadyExists);
  EXPECT_EQ(store().create_join_token({"", 500}, std::nullopt).error().message,
            "token and expiry are required");
  EXPECT_EQ(store().prune_join_tokens(500).take(), 0);
  EXPECT_EQ(store().prune_join_tokens(501).take(), 1);
  EXPECT_EQ(store().delete_join_token("t1").error().message, "datastore-sql: record not found");
}

TEST_P(EntryContract, ForeignValuesAreNamedAndDoNotStopTheScan) {
  auto good = create(entry_of("/good", {{"a", "1"}}));
  auto bad = create(entry_of("/bad", {{"a", "1"}}));
  auto expect_bad = [&](const std::string& column, const std::string& value,
                        const std::string& text) {
    auto write = database_->write().take();
    ASSERT_TRUE(write.begin_part().ok());
    ASSERT_TRUE(write
                    .execute("UPDATE registered_entries SET " + column + " = " + value +
                             " WHERE entry_id = '" + bad.id + "'")
                    .ok());
    ASSERT_TRUE(write.keep_part().ok());
    ASSERT_TRUE(write.commit().ok());
    auto fetched = store().fetch_entry(bad.id);
    ASSERT_FALSE(fetched.ok()) << column;
    EXPECT_EQ(fetched.error().code, Code::kDataLoss);
    EXPECT_THAT(fetched.error().message, HasSubstr(text));
    std::vector<Entry> entries;
    std::vector<Error> errors;
    ASSERT_TRUE(store()
                    .scan_entries([&](Result<Entry> entry) {
                      entry.ok() ? entries.push_back(*entry) : errors.push_back(entry.error());
                    })
                    .ok());
    EXPECT_THAT(entries, ElementsAre(good));
    EXPECT_EQ(errors.size(), 1U);
  };
  expect_bad("additional_attributes", "X'FF'", "not a protobuf message");
  expect_bad("additional_attributes = NULL, created_at", "'yesterday'", "is no time");
  expect_bad("created_at = NULL, ttl", "-5", "-5");
  expect_bad("ttl", "'many'", "wrong type");
  expect_bad("ttl = 0, parent_id", "'http://x'", "parent ID");
  expect_bad("spiffe_id", "NULL", "SPIFFE ID");
}

TEST_P(EntryContract, AForeignTrustDomainIsFoundWhereverItSorts) {
  EXPECT_EQ(store().foreign_trust_domain(domain("example.org")).take(), std::nullopt);
  create(entry_of("/web", {{"a", "1"}}));
  EXPECT_EQ(store().foreign_trust_domain(domain("example.org")).take(), std::nullopt);
  EXPECT_EQ(store().foreign_trust_domain(domain("zzz.org")).take(), domain("example.org"));
  EXPECT_EQ(store().foreign_trust_domain(domain("a.org")).take(), domain("example.org"));
  EXPECT_TRUE(store().ping().ok());
}

TEST_P(EntryContract, DataOutlivesTheStoreThatWroteIt) {
  auto entry = create(entry_of("/web", {{"a", "1"}}));
  reopen();
  EXPECT_EQ(store().fetch_entry(entry.id).take(), entry);
}

}  // namespace
}  // namespace steeple::server
