// SPDX-License-Identifier: Apache-2.0

// Goal: the contract of Datastore for trust bundles, on a file and in memory. Roots that must parse
// are tested on a real bundle in schema_test.cc.

#include "server/datastore/testing.h"
#include "spire/common/common.pb.h"

namespace steeple::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kDer("\x30\x03\x02\x01\x01", 5);  // outer length right, that is all that is read
const std::string kDer2("\x30\x03\x02\x01\x02", 5);

jose::Bundle bundle_with_root(const std::string& name) {
  auto bundle = bundle_of(name);
  bundle.x509_authorities.push_back({kDer, false});
  bundle.refresh_hint = std::chrono::seconds(300);
  bundle.sequence_number = 7;
  return bundle;
}

class BundleContract : public DatastoreContract {
 protected:
  spire::common::Bundle blob(const std::string& name) {
    auto read = database_->read().take();
    auto rows =
        read.query("SELECT data FROM bundles WHERE trust_domain = ?", "spiffe://" + name).take();
    EXPECT_TRUE(rows.next().take());
    spire::common::Bundle parsed;
    EXPECT_TRUE(parsed.ParseFromString(std::string(rows.text(0))));
    return parsed;
  }
  void put_blob(const std::string& name, const std::string& data) {
    auto write = database_->write().take();
    ASSERT_TRUE(write
                    .run("UPDATE bundles SET data = ? WHERE trust_domain = ?", sql::Blob{data},
                         "spiffe://" + name)
                    .ok());
    ASSERT_TRUE(write.commit().ok());
  }
};
INSTANTIATE_TEST_SUITE_P(Drivers, BundleContract, testing::Bool(), driver_name);

TEST_P(BundleContract, ABundleIsReadBackAsItWasWritten) {
  auto bundle = bundle_with_root("other.org");
  ASSERT_TRUE(store().create_bundle(bundle).ok());
  EXPECT_EQ(store().fetch_bundle(domain("other.org")).take(), bundle);
  EXPECT_EQ(store().fetch_bundle(domain("none.org")).take(), std::nullopt);
  EXPECT_EQ(blob("other.org").trust_domain_id(), "spiffe://other.org");
  EXPECT_EQ(store().create_bundle(bundle).error().message,
            "datastore-sql: UNIQUE constraint failed: bundles.trust_domain");
}

TEST_P(BundleContract, SetReplacesAndUpdateWritesTheFieldsOfItsMask) {
  auto bundle = bundle_with_root("other.org");
  EXPECT_EQ(store().update_bundle(bundle, {}).error().message, "datastore-sql: record not found");
  ASSERT_TRUE(store().set_bundle(bundle).ok());
  auto change = bundle_of("other.org");
  change.sequence_number = 8;
  BundleMask mask{false, false, false, true};
  bundle.sequence_number = 8;
  EXPECT_EQ(store().update_bundle(change, mask).take(), bundle);
  EXPECT_EQ(store().set_bundle(change).take(), change);
  EXPECT_EQ(store().fetch_bundle(domain("other.org")).take(), change);
}

TEST_P(BundleContract, AppendAddsWhatIsMissingAndRaisesTheSequence) {
  auto bundle = bundle_with_root("other.org");
  EXPECT_EQ(store().append_bundle(bundle).take(), bundle);
  EXPECT_EQ(store().append_bundle(bundle)->sequence_number, 7U);
  auto more = bundle;
  more.x509_authorities = {{kDer2, false}};
  more.jwt_authorities = {{"spki2", "kid2", from_unix_seconds(5), false}};
  auto merged = store().append_bundle(more).take();
  EXPECT_EQ(merged.sequence_number, 8U);
  EXPECT_EQ(merged.x509_authorities.size(), 2U);
  EXPECT_EQ(merged.jwt_authorities.size(), 2U);
}

TEST_P(BundleContract, AppendDoesNotBringATaintedKeyBack) {
  auto bundle = bundle_with_root("other.org");
  ASSERT_TRUE(store().set_bundle(bundle).ok());
  ASSERT_TRUE(store().taint_jwt_key(domain("other.org"), "kid").ok());
  auto merged = store().append_bundle(bundle).take();
  ASSERT_EQ(merged.jwt_authorities.size(), 1U);
  EXPECT_TRUE(merged.jwt_authorities[0].tainted);
}

TEST_P(BundleContract, JwtKeysAreTaintedThenRevoked) {
  ASSERT_TRUE(store().set_bundle(bundle_with_root("other.org")).ok());
  auto other = domain("other.org");
  EXPECT_EQ(store().revoke_jwt_key(other, "kid").error().message,
            "it is not possible to revoke an untainted key");
  EXPECT_EQ(store().taint_jwt_key(other, "x").error().message,
            "no JWT Key found with provided key ID");
  EXPECT_EQ(store().taint_jwt_key(domain("none.org"), "kid").error().code, Code::kNotFound);
  ASSERT_TRUE(store().taint_jwt_key(other, "kid").ok());
  EXPECT_EQ(store().taint_jwt_key(other, "kid").error().message, "key is already tainted");
  ASSERT_TRUE(store().revoke_jwt_key(other, "kid").ok());
  auto bundle = store().fetch_bundle(other).take().value();
  EXPECT_THAT(bundle.jwt_authorities, IsEmpty());
  EXPECT_EQ(bundle.sequence_number, 9U);
}

TEST_P(BundleContract, WhatWeDoNotKnowInABundleSurvivesOurChanges) {
  ASSERT_TRUE(store().set_bundle(bundle_with_root("other.org")).ok());
  auto with_wit = blob("other.org");
  with_wit.add_wit_signing_keys()->set_kid("wit");
  put_blob("other.org", with_wit.SerializeAsString());
  ASSERT_TRUE(store().taint_jwt_key(domain("other.org"), "kid").ok());
  ASSERT_TRUE(store().set_bundle(bundle_with_root("other.org")).ok());
  ASSERT_EQ(blob("other.org").wit_signing_keys_size(), 1);
  EXPECT_EQ(blob("other.org").wit_signing_keys(0).kid(), "wit");
}

TEST_P(BundleContract, ADamagedBlobIsAnErrorThatNamesTheTrustDomain) {
  ASSERT_TRUE(store().set_bundle(bundle_with_root("other.org")).ok());
  put_blob("other.org", "\xFF\xFF");
  auto fetched = store().fetch_bundle(domain("other.org"));
  EXPECT_EQ(fetched.error().code, Code::kDataLoss);
  EXPECT_THAT(fetched.error().message, HasSubstr("spiffe://other.org"));
  spire::common::Bundle bad_root;
  bad_root.add_root_cas()->set_der_bytes("\x30\x7F");
  put_blob("other.org", bad_root.SerializeAsString());
  EXPECT_EQ(store().fetch_bundle(domain("other.org")).error().code, Code::kDataLoss);
}

TEST_P(BundleContract, TimesBeyondOursAreHeldAtTheirEnd) {
  ASSERT_TRUE(store().set_bundle(bundle_with_root("other.org")).ok());
  auto late = blob("other.org");
  late.mutable_jwt_signing_keys(0)->set_not_after(253'402'300'799);  // year 9999
  late.set_refresh_hint(std::numeric_limits<std::int64_t>::max());
  put_blob("other.org", late.SerializeAsString());
  auto bundle = store().fetch_bundle(domain("other.org")).take().value();
  EXPECT_GT(to_unix_seconds(bundle.jwt_authorities[0].expires_at), 9'000'000'000);
  EXPECT_GT(bundle.refresh_hint.count(), 0);
}

TEST_P(BundleContract, ListsInPages) {
  for (const char* name : {"a.org", "b.org", "c.org"}) {
    ASSERT_TRUE(store().set_bundle(bundle_with_root(name)).ok());
  }
  auto page = store().list_bundles(Pagination{"", 2}).take();
  EXPECT_EQ(page.items.size(), 2U);
  page = store().list_bundles(Pagination{page.next, 2}).take();
  EXPECT_THAT(page.items, ElementsAre(bundle_with_root("c.org")));
  EXPECT_EQ(page.next, "");
  EXPECT_EQ(store().list_bundles(std::nullopt)->items.size(), 3U);
  EXPECT_EQ(store().count_bundles().take(), 3);
}

class BundleDelete : public BundleContract {
 protected:
  void SetUp() override {
    BundleContract::SetUp();
    ASSERT_TRUE(store().set_bundle(bundle_with_root("other.org")).ok());
    auto entry = entry_of("/web", {{"a", "1"}});
    entry.federates_with = {domain("other.org")};
    federated_ = create(entry);
    alone_ = create(entry_of("/alone", {{"a", "1"}}));
    subscription_ = store().subscribe([this](const ChangeBatch& batch) { told_ = batch; });
  }
  std::string entry_id() const { return federated_->id; }

  std::optional<Entry> federated_, alone_;
  ChangeBatch told_;
  std::unique_ptr<Datastore::Subscription> subscription_;
};
INSTANTIATE_TEST_SUITE_P(Drivers, BundleDelete, testing::Bool(), driver_name);

TEST_P(BundleDelete, RestrictRefusesWhileEntriesFederate) {
  auto refused = store().delete_bundle(domain("other.org"), BundleDeleteMode::kRestrict);
  EXPECT_EQ(refused.error().message,
            "datastore-sql: cannot delete bundle; federated with 1 registration entries");
  EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
  EXPECT_EQ(store().delete_bundle(domain("none.org"), BundleDeleteMode::kRestrict).error().message,
            "datastore-sql: record not found");
}

TEST_P(BundleDelete, DeleteTakesTheEntriesToo) {
  ASSERT_TRUE(store().delete_bundle(domain("other.org"), BundleDeleteMode::kDelete).ok());
  EXPECT_THAT(store().list_entries({}, std::nullopt)->items, ElementsAre(*alone_));
  EXPECT_THAT(told_.entry_ids, ElementsAre(entry_id()));
  EXPECT_THAT(told_.bundles, ElementsAre(domain("other.org")));
}

TEST_P(BundleDelete, DissociateKeepsTheEntriesUnderANewRevision) {
  ASSERT_TRUE(store().delete_bundle(domain("other.org"), BundleDeleteMode::kDissociate).ok());
  Entry expected = *federated_;
  expected.federates_with.clear();
  expected.revision_number = 1;
  EXPECT_EQ(store().fetch_entry(entry_id()).take(), expected);
  EXPECT_THAT(told_.entry_ids, ElementsAre(entry_id()));
}

}  // namespace
}  // namespace steeple::server
