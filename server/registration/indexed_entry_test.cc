// SPDX-License-Identifier: Apache-2.0

// Goal: the bytes that the index keeps are a spire.api.types.Entry, whole and under any mask.

#include "server/registration/indexed_entry.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "lib/base/fake_random.h"
#include "server/datastore/testing.h"
#include "server/registration/entry_validation.h"

namespace steeple::server {
namespace {

using google::protobuf::util::MessageDifferencer;
using Proto = spire::api::types::Entry;
using ProtoMask = spire::api::types::EntryMask;

std::string text_of(SeededRandom& random) { return random.alphanumeric(1 + random.below(200)); }

Entry random_entry(SeededRandom& random) {
  Entry entry = entry_of("/" + text_of(random), {});
  entry.id = text_of(random);
  auto maybe = [&random] { return random.below(2) == 0; };
  for (std::uint64_t i = random.below(4); i > 0; --i) {
    entry.selectors.push_back({text_of(random), text_of(random)});
  }
  for (std::uint64_t i = random.below(3); i > 0; --i) {
    entry.dns_names.push_back(text_of(random));
    entry.federates_with.push_back(domain(fmt::format("td{}.org", i)));
  }
  entry.x509_svid_ttl = std::chrono::seconds(random.below(2'000'000'000));
  entry.jwt_svid_ttl = std::chrono::seconds(maybe() ? 0 : 300);
  entry.admin = maybe();
  entry.downstream = maybe();
  entry.store_svid = maybe();
  entry.disable_x509_svid_prefetch = maybe();
  entry.jwt_svid_include_jti = maybe();
  entry.hint = maybe() ? "" : text_of(random);
  entry.expires_at = maybe() ? 0 : static_cast<std::int64_t>(random.number() >> 1);
  entry.revision_number = static_cast<std::int64_t>(random.below(1000));
  entry.created_at = maybe() ? -5 : 1'893'456'000;
  return entry;
}

Proto parsed(std::string_view wire) {
  Proto proto;
  EXPECT_TRUE(proto.ParseFromArray(wire.data(), static_cast<int>(wire.size())));
  return proto;
}

TEST(IndexedEntry, ItsBytesAreTheProtobufMessageAndGiveTheEntryBack) {
  SeededRandom random(11);
  for (int round = 0; round < 300; ++round) {
    Entry entry = random_entry(random);
    IndexedEntry indexed(entry);
    Proto expected;
    entry_to_proto(entry, nullptr, expected);
    EXPECT_EQ(indexed.wire(), expected.SerializeAsString());
    EXPECT_TRUE(MessageDifferencer::Equals(parsed(indexed.wire()), expected));
    EXPECT_EQ(indexed.to_entry(), entry);
    EXPECT_EQ(indexed.id(), entry.id);
    EXPECT_EQ(indexed.spiffe_path(), entry.spiffe_id.path());
    EXPECT_EQ(indexed.parent_path(), entry.parent_id.path());
    std::vector<Selector> selectors;
    indexed.each_selector([&selectors](std::string_view type, std::string_view value) {
      selectors.push_back({std::string(type), std::string(value)});
    });
    EXPECT_EQ(selectors, entry.selectors);
  }
}

TEST(IndexedEntry, AMaskLeavesOutWholeFieldsButNeverTheId) {
  SeededRandom random(12);
  const auto* mask_type = ProtoMask::descriptor();
  for (int round = 0; round < 300; ++round) {
    Entry entry = random_entry(random);
    ProtoMask mask;
    EntryFields fields = 0;
    for (int i = 0; i < mask_type->field_count(); ++i) {
      if (random.below(2) == 0) {
        ProtoMask::GetReflection()->SetBool(&mask, mask_type->field(i), true);
        fields |= 1U << mask_type->field(i)->number();
      }
    }
    Proto expected;
    entry_to_proto(entry, &mask, expected);
    Bytes wire;
    IndexedEntry(entry).append_wire(fields, wire);
    EXPECT_TRUE(MessageDifferencer::Equals(parsed(wire), expected));
  }
}

}  // namespace
}  // namespace steeple::server
