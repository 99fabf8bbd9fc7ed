// SPDX-License-Identifier: Apache-2.0

// Goal: the contract of Datastore for attested nodes, federation relationships and CA journals, on
// a file and in memory.

#include "private/server/journal/journal.pb.h"
#include "server/datastore/testing.h"

namespace steeple::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

class NodeContract : public DatastoreContract {
 protected:
  AttestedNode node(const std::string& name, std::int64_t not_after = 1000) {
    return {.spiffe_id = id("/spire/agent/" + name),
            .attestation_type = "x509pop",
            .serial = "serial-" + name,
            .not_after = not_after,
            .can_reattest = true};
  }
  void create_node(const AttestedNode& value, const std::vector<Selector>& selectors = {}) {
    auto created = store().create_node(value);
    ASSERT_TRUE(created.ok()) << created.error().message;
    if (!selectors.empty()) {
      ASSERT_TRUE(store().set_node_selectors(value.spiffe_id, selectors).ok());
    }
  }
  std::vector<std::string> list(const AttestedNodeFilter& filter) {
    auto page = store().list_nodes(filter, std::nullopt);
    EXPECT_TRUE(page.ok()) << page.error().message;
    EXPECT_EQ(store().count_nodes(filter).take(), std::ssize(page->items));
    std::vector<std::string> names;
    for (const auto& item : page->items) {
      names.push_back(item.spiffe_id.text().substr(item.spiffe_id.text().rfind('/') + 1));
    }
    return names;
  }
};
INSTANTIATE_TEST_SUITE_P(Drivers, NodeContract, testing::Bool(), driver_name);

TEST_P(NodeContract, ANodeIsReadBackAsItWasWritten) {
  auto value = node("a");
  value.new_serial = "next";
  value.new_not_after = 2000;
  value.agent_version = "1.15.3";
  create_node(value);
  EXPECT_EQ(store().fetch_node(value.spiffe_id).take(), value);
  EXPECT_EQ(store().fetch_node(id("/spire/agent/none")).take(), std::nullopt);
  EXPECT_EQ(store().create_node(value).error().message,
            "datastore-sql: UNIQUE constraint failed: attested_node_entries.spiffe_id");
}

TEST_P(NodeContract, ListsFilterByEachField) {
  auto a = node("a", 100);
  auto b = node("b", 200);
  b.serial = "";
  b.can_reattest = false;
  auto c = node("c", 300);
  c.attestation_type = "join_token";
  create_node(a, {{"s", "1"}});
  create_node(b, {{"s", "1"}, {"s", "2"}});
  create_node(c);
  EXPECT_THAT(list({}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(list({.attestation_type = "join_token"}), ElementsAre("c"));
  EXPECT_THAT(list({.banned = true}), ElementsAre("b"));
  EXPECT_THAT(list({.banned = false}), ElementsAre("a", "c"));
  EXPECT_THAT(list({.can_reattest = false}), ElementsAre("b"));
  EXPECT_THAT(list({.expires_before = 200}), ElementsAre("a"));
  EXPECT_THAT(list({.valid_at = 200}), ElementsAre("b", "c"));
  EXPECT_THAT(list({.spiffe_ids = {a.spiffe_id, c.spiffe_id}}), ElementsAre("a", "c"));
  auto by = [this](std::vector<Selector> set, Match match) {
    return list({.selectors = SelectorFilter{std::move(set), match}});
  };
  EXPECT_THAT(by({{"s", "1"}}, Match::kExact), ElementsAre("a"));
  EXPECT_THAT(by({{"s", "1"}}, Match::kSuperset), ElementsAre("a", "b"));
  EXPECT_THAT(by({{"s", "1"}, {"s", "2"}}, Match::kSubset), ElementsAre("a", "b"));
  EXPECT_THAT(by({{"s", "2"}}, Match::kAny), ElementsAre("b"));
  EXPECT_EQ(store()
                .list_nodes({.selectors = SelectorFilter{{}, Match::kAny}}, std::nullopt)
                .error()
                .message,
            "cannot list by empty selectors set");
  auto page = store().list_nodes({.fetch_selectors = true}, Pagination{"", 2}).take();
  ASSERT_EQ(page.items.size(), 2U);
  EXPECT_EQ(page.items[1].selectors.size(), 2U);
  page = store().list_nodes({}, Pagination{page.next, 2}).take();
  EXPECT_EQ(page.items.size(), 1U);
  EXPECT_EQ(page.next, "");
}

TEST_P(NodeContract, TimesOfAnotherZoneAreComparedAsTimes) {
  create_node(node("a", 1000));
  {
    auto write = database_->write().take();
    ASSERT_TRUE(
        write.run("UPDATE attested_node_entries SET expires_at = '1970-01-01 05:16:40+05:00'")
            .ok());
    ASSERT_TRUE(write.commit().ok());
  }
  EXPECT_EQ(store().fetch_node(id("/spire/agent/a")).take()->not_after, 1000);
  EXPECT_THAT(list({.expires_before = 1000}), IsEmpty());
  EXPECT_THAT(list({.expires_before = 1001}), ElementsAre("a"));
}

TEST_P(NodeContract, AnUpdateWritesTheFieldsOfItsMask) {
  auto value = node("a");
  create_node(value);
  auto change = node("a", 5000);
  change.serial = "";
  change.new_serial = "n";
  AttestedNodeMask mask = AttestedNodeMask::none();
  mask.serial = true;
  value.serial = "";
  EXPECT_EQ(store().update_node(change, mask).take(), value);
  EXPECT_TRUE(store().fetch_node(value.spiffe_id).take()->banned());
  EXPECT_EQ(store().update_node(change, {}).take(), change);
  EXPECT_EQ(store().update_node(node("none"), {}).error().code, Code::kNotFound);
}

TEST_P(NodeContract, SelectorsAreReplacedWhole) {
  create_node(node("a"), {{"s", "1"}, {"s", "2"}});
  const std::vector<Selector> after{{"s", "3"}};
  ASSERT_TRUE(store().set_node_selectors(id("/spire/agent/a"), after).ok());
  EXPECT_EQ(store().node_selectors(id("/spire/agent/a")).take(), after);
  create_node(node("b", 50), {{"t", "1"}});
  EXPECT_THAT(store().list_node_selectors(std::nullopt).take(),
              ElementsAre(Pair(id("/spire/agent/a").text(), after),
                          Pair(id("/spire/agent/b").text(), ElementsAre(Selector{"t", "1"}))));
  EXPECT_EQ(store().list_node_selectors(100)->size(), 1U);
  const std::vector<std::string> ids{id("/spire/agent/a").text(), "spiffe://example.org/none"};
  auto nodes = store().fetch_nodes(ids).take();
  ASSERT_EQ(nodes.size(), 1U);
  EXPECT_EQ(nodes[0].selectors, after);
}

TEST_P(NodeContract, DeletingAJoinTokenAgentTakesItsAliasAndNothingElse) {
  auto value = node("join_token/t1");
  value.attestation_type = "join_token";
  create_node(value, {{"s", "1"}});
  auto alias = entry_of("/node1", {{"spiffe_id", value.spiffe_id.text()}});
  alias.parent_id = value.spiffe_id;
  auto workload = entry_of("/web", {{"unix", "uid:1"}});
  workload.parent_id = value.spiffe_id;
  create(alias);
  workload = create(workload);
  EXPECT_EQ(store().delete_node(value.spiffe_id).take(), value);
  EXPECT_THAT(store().list_entries({}, std::nullopt)->items, ElementsAre(workload));
  EXPECT_THAT(store().node_selectors(value.spiffe_id).take(), IsEmpty());
  EXPECT_EQ(store().delete_node(value.spiffe_id).error().message,
            "datastore-sql: record not found");
}

TEST_P(NodeContract, PruneTakesExpiredNodesButNeverBannedOnes) {
  auto banned = node("banned", 10);
  banned.serial = "";
  auto once = node("once", 10);
  once.can_reattest = false;
  create_node(node("old", 10));
  create_node(banned);
  create_node(once);
  create_node(node("new", 100));
  EXPECT_EQ(store().prune_nodes(100, false, 0).take(), 1);
  EXPECT_THAT(list({}), ElementsAre("banned", "once", "new"));
  EXPECT_EQ(store().prune_nodes(100, true, 0).take(), 1);
  EXPECT_THAT(list({}), ElementsAre("banned", "new"));
}

TEST_P(NodeContract, EveryChangeOfANodeIsToldAndHasItsEvent) {
  std::vector<std::string> told;
  auto subscription = store().subscribe([&told](const ChangeBatch& batch) {
    told.insert(told.end(), batch.node_ids.begin(), batch.node_ids.end());
  });
  auto value = node("a");
  create_node(value, {{"s", "1"}});
  ASSERT_TRUE(store().update_node(value, {}).ok());
  ASSERT_TRUE(store().delete_node(value.spiffe_id).ok());
  EXPECT_EQ(told, std::vector<std::string>(4, value.spiffe_id.text()));
  EXPECT_EQ(store().list_node_events(0, 10)->size(), 4U);
  EXPECT_EQ(store().event_position()->node_event, 4U);
}

TEST_P(NodeContract, FederationRelationshipsAreKept) {
  FederationRelationship web{.trust_domain = domain("web.org"), .bundle_endpoint_url = "https://w"};
  FederationRelationship own{.trust_domain = domain("own.org"),
                             .bundle_endpoint_url = "https://o",
                             .profile = BundleEndpointProfile::kHttpsSpiffe,
                             .endpoint_spiffe_id = id("/endpoint")};
  ASSERT_TRUE(store().create_federation_relationship(web).ok());
  ASSERT_TRUE(store().create_federation_relationship(own).ok());
  EXPECT_EQ(store().create_federation_relationship(web).error().code, Code::kAlreadyExists);
  EXPECT_EQ(store().fetch_federation_relationship(domain("own.org")).take(), own);
  EXPECT_THAT(store().list_federation_relationships(std::nullopt)->items, ElementsAre(web, own));
  auto page = store().list_federation_relationships(Pagination{"", 1}).take();
  EXPECT_THAT(store().list_federation_relationships(Pagination{page.next, 5})->items,
              ElementsAre(own));
  FederationRelationship change = own;
  change.bundle_endpoint_url = "https://new";
  change.endpoint_spiffe_id.reset();
  EXPECT_EQ(store().update_federation_relationship(change, {}).error().message,
            "bundle endpoint SPIFFE ID is required");
  own.bundle_endpoint_url = "https://new";
  EXPECT_EQ(store().update_federation_relationship(change, {.profile = false}).take(), own);
  ASSERT_TRUE(store().delete_federation_relationship(domain("own.org")).ok());
  EXPECT_EQ(store().fetch_federation_relationship(domain("own.org")).take(), std::nullopt);
  EXPECT_EQ(store().delete_federation_relationship(domain("own.org")).error().code,
            Code::kNotFound);
}

TEST_P(NodeContract, JournalsAreFoundByAuthorityAndPrunedWhenAllHasEnded) {
  ::Entries entries;
  entries.add_x509cas()->set_not_after(100);
  entries.add_jwtkeys()->set_not_after(200);
  auto first = store().set_ca_journal({0, entries.SerializeAsString(), "aa"}).take();
  EXPECT_NE(first.id, 0U);
  auto second = store().set_ca_journal({0, "", "bb"}).take();
  first.active_x509_authority_id = "cc";
  EXPECT_EQ(store().set_ca_journal(first).take(), first);
  EXPECT_EQ(store().fetch_ca_journal("cc").take(), first);
  EXPECT_EQ(store().fetch_ca_journal("aa").take(), std::nullopt);
  EXPECT_EQ(store().fetch_ca_journal("").error().message, "active X509 authority ID is required");
  EXPECT_EQ(store().set_ca_journal({99, "", "x"}).error().code, Code::kNotFound);
  EXPECT_EQ(store().prune_ca_journals(199).take(), 1);  // the empty one
  EXPECT_THAT(store().list_ca_journals().take(), ElementsAre(first));
  EXPECT_EQ(store().prune_ca_journals(200).take(), 1);
}

}  // namespace
}  // namespace steeple::server
