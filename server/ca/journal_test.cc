// SPDX-License-Identifier: Apache-2.0

// Goal: the journal is SPIRE's, byte for byte and both ways, and a damaged one is refused. Method:
// bytes that protoc encoded from SPIRE's own journal.proto.

#include "server/ca/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/telemetry/fake_log.h"
#include "server/ca/fake_world.h"

namespace steeple::server {
namespace {

constexpr std::string_view kSpires =
    "0a1f0a01411080e2cfaa061a06636572742d612804320461613031388085d5aa060a320a014210c09ad2aa061a"
    "06636572742d622206636572742d622203696e74280332046262303238c0bdd7aa0642046363303312230a0141"
    "1080e2cfaa06188085d5aa0622056b69642d612a02706b30023a056b69642d611a240a01411080e2cfaa061880"
    "85d5aa0622057769742d612a0377706b30033a057769742d61";

JournalEntries spires_entries() {
  return {.x509_cas = {{.slot_id = "A",
                        .issued_at = 1'700'000'000,
                        .not_after = 1'700'086'400,
                        .status = SlotStatus::kOld,
                        .authority_id = "aa01",
                        .certificate = "cert-a"},
                       {.slot_id = "B",
                        .issued_at = 1'700'040'000,
                        .not_after = 1'700'126'400,
                        .status = SlotStatus::kActive,
                        .authority_id = "bb02",
                        .upstream_authority_id = "cc03",
                        .certificate = "cert-b",
                        .upstream_chain = {"cert-b", "int"}}},
          .jwt_keys = {{.slot_id = "A",
                        .issued_at = 1'700'000'000,
                        .not_after = 1'700'086'400,
                        .status = SlotStatus::kPrepared,
                        .authority_id = "kid-a",
                        .key_id = "kid-a",
                        .public_key = "pk"}},
          .wit_keys = {{.slot_id = "A",
                        .issued_at = 1'700'000'000,
                        .not_after = 1'700'086'400,
                        .status = SlotStatus::kActive,
                        .authority_id = "wit-a",
                        .key_id = "wit-a",
                        .public_key = "wpk"}}};
}

TEST(Journal, ReadsWhatSpireWrote) {
  EXPECT_EQ(parse_journal(hex_decode(kSpires).take()).take(), spires_entries());
}

TEST(Journal, WritesWhatSpireWouldWrite) {
  EXPECT_EQ(hex_encode(serialize_journal(spires_entries())), kSpires);
}

TEST(Journal, RefusesDamageAndExcess) {
  auto damaged = parse_journal("\x0a\xff\xff");
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.error().code, Code::kDataLoss);
  EXPECT_EQ(parse_journal(Bytes(kJournalBytesMax + 1, 'x')).error().code, Code::kResourceExhausted);
}

class StoredJournalTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(world_.start().ok());
    world_.keeper.reset();
  }
  Result<Journal> load() {
    return Journal::load(
        {.datastore = *world_.store, .keys = *world_.keys, .log = world_.log.logger()});
  }
  CaWorld world_;
};

TEST_F(StoredJournalTest, KeepsTheNewestTenOfAKind) {
  auto journal = load().take();
  for (int i = 0; i < 15; ++i) {
    ASSERT_TRUE(
        journal.append(JournalKind::kJwt, {.slot_id = "A", .authority_id = std::to_string(i)})
            .ok());
  }
  auto again = load().take();
  ASSERT_EQ(again.entries(JournalKind::kJwt).size(), kJournalEntriesMax);
  EXPECT_EQ(again.entries(JournalKind::kJwt).front().authority_id, "5");
  EXPECT_EQ(again.entries(JournalKind::kJwt).back().authority_id, "14");
  EXPECT_EQ(again.entries(JournalKind::kX509).size(), 1U);
}

TEST_F(StoredJournalTest, FindsTheRowOfItsOwnKeysOnly) {
  const auto own = world_.store->list_ca_journals().take();
  ASSERT_EQ(own.size(), 1U);
  ASSERT_TRUE(world_.store
                  ->set_ca_journal({.id = 0,
                                    .data = serialize_journal(spires_entries()),
                                    .active_x509_authority_id = "bb02"})
                  .ok());
  auto journal = load().take();
  EXPECT_EQ(journal.entries(JournalKind::kX509).size(), 1U);

  ASSERT_TRUE(journal.append(JournalKind::kJwt, {.slot_id = "B", .authority_id = "k"}).ok());
  auto rows = world_.store->list_ca_journals().take();
  ASSERT_EQ(rows.size(), 2U);
  for (const CaJournal& row : rows) {
    if (row.id == own.front().id) {
      EXPECT_EQ(row.active_x509_authority_id, own.front().active_x509_authority_id);
      EXPECT_NE(row.data, own.front().data);
    } else {
      EXPECT_EQ(row.data, serialize_journal(spires_entries()));
    }
  }
}

TEST_F(StoredJournalTest, WhatCouldNotBeStoredIsStoredLater) {
  auto journal = load().take();
  world_.budget.left = 0;
  EXPECT_FALSE(journal.append(JournalKind::kJwt, {.slot_id = "B", .authority_id = "late"}).ok());
  EXPECT_EQ(journal.entries(JournalKind::kJwt).back().authority_id, "late");
  world_.budget.left = 100;
  EXPECT_TRUE(journal.save().ok());
  EXPECT_EQ(load().take().entries(JournalKind::kJwt).back().authority_id, "late");
}

TEST_F(StoredJournalTest, ARowThatAnotherServerPrunedIsMadeAgain) {
  auto journal = load().take();
  const auto long_after = world_.clock.now() + std::chrono::hours(24 * 30);
  ASSERT_EQ(world_.store->prune_ca_journals(to_unix_seconds(long_after)).take(), 1);
  auto stored = journal.append(JournalKind::kJwt, {.slot_id = "B", .authority_id = "k"});
  ASSERT_TRUE(stored.ok()) << stored.error().message;
  EXPECT_EQ(load().take().entries(JournalKind::kJwt).back().authority_id, "k");
}

TEST_F(StoredJournalTest, AnUnknownAuthorityCannotBeActivated) {
  auto refused = load().take().activate(JournalKind::kX509, "nobody", "");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, "no journal entry found with authority ID \"nobody\"");
}

}  // namespace
}  // namespace steeple::server
