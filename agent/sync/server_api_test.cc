// SPDX-License-Identifier: Apache-2.0

// Goal: what a server sends is an entry or an error. (The calls themselves: agent_test.)

#include "agent/sync/server_api.h"

#include <gtest/gtest.h>

#include "spire/api/types/bundle.pb.h"
#include "spire/api/types/entry.pb.h"

namespace steeple::agent {
namespace {

// The address sanitizer's run shows it: g++ 12 forgot the id and the SPIFFE ID when the selectors
// were refused, so that a server could fill an agent's memory.
TEST(EntryFromProto, AnEntryWithoutSelectorsIsRefusedAndNotLeaked) {
  spire::api::types::Entry proto;
  proto.set_id("an id that does not fit into a string itself");
  proto.mutable_spiffe_id()->set_trust_domain("a-long-trust-domain.example.org");
  proto.mutable_spiffe_id()->set_path("/workload");
  auto entry = entry_from_proto(proto);
  ASSERT_FALSE(entry.ok());
  EXPECT_EQ(entry.error().message, "selector list is empty");
}

// Found by answers_fuzz: both overflowed.
TEST(BundleFromProto, TimesOutOfRangeBecomeTheNearestThatFit) {
  spire::api::types::Bundle proto;
  proto.set_trust_domain("example.org");
  auto& key = *proto.add_jwt_authorities();
  key.set_key_id("k");
  key.set_expires_at(13'005'853'696);
  proto.set_refresh_hint(INT64_MAX);
  auto bundle = bundle_from_proto(proto);
  ASSERT_TRUE(bundle.ok());
  EXPECT_EQ(bundle->jwt_authorities[0].expires_at, kLatestTime);
  EXPECT_EQ(bundle->refresh_hint, kLatestTime - kEarliestTime);
}

}  // namespace
}  // namespace steeple::agent
