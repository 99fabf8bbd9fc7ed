// SPDX-License-Identifier: Apache-2.0

// Answers to agents are put together from the wire bytes that the index keeps, so that a sync
// copies memory instead of building messages. Protobuf encoding: a length-delimited field is its
// tag, the length as a varint, the bytes. Pure.

#pragma once

#include "lib/base/bytes.h"
#include "server/datastore/types.h"
#include "server/registration/indexed_entry.h"
#include "spire/api/types/entry.pb.h"

namespace steeple::server {

inline constexpr int kGetAuthorizedEntriesField = 1;  // GetAuthorizedEntriesResponse.entries
inline constexpr int kListEntriesField = 1;           // ListEntriesResponse.…
inline constexpr int kListNextPageField = 2;
inline constexpr int kSyncRevisionsField = 1;  // SyncAuthorizedEntriesResponse.…
inline constexpr int kSyncEntriesField = 2;
inline constexpr int kSyncMoreField = 3;

// `mask` null: all fields.
EntryFields fields_of(const spire::api::types::EntryMask* mask);

void append_varint(std::uint64_t value, Bytes& out);
void append_bytes_field(int field, ByteView bytes, Bytes& out);
void append_int_field(int field, std::int64_t value, Bytes& out);  // left out when 0
// The entry, with these fields only, as the message field `field`.
void append_entry(int field, const IndexedEntry& entry, EntryFields fields, Bytes& out);
// The entry's id, revision and creation as EntryRevision.
void append_revision(int field, const IndexedEntry& entry, Bytes& out);

// The match behaviours of the API's filters share their numbers.
template <class Proto>
Match match_of(Proto match) {
  switch (static_cast<int>(match)) {
    case 1:
      return Match::kSubset;
    case 2:
      return Match::kSuperset;
    case 3:
      return Match::kAny;
    default:
      return Match::kExact;
  }
}

}  // namespace steeple::server
