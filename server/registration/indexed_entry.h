// SPDX-License-Identifier: Apache-2.0

// IndexedEntry: a registration entry as the index keeps it, immutable and small: the wire bytes of
// a spire.api.types.Entry in one block and the few numbers that are asked often. An answer to an
// agent copies bytes instead of building messages.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"
#include "server/datastore/types.h"

namespace steeple::server {

// Field numbers of spire.api.types.Entry as bits: `1u << number`. The id is always sent.
using EntryFields = std::uint32_t;
inline constexpr EntryFields kAllEntryFields = 0x1FFFE;

class IndexedEntry {
 public:
  explicit IndexedEntry(const Entry& entry);
  IndexedEntry(const IndexedEntry&) = delete;
  IndexedEntry& operator=(const IndexedEntry&) = delete;

  std::string_view id() const { return std::string_view(wire_).substr(id_at_, id_bytes_); }
  std::int64_t revision_number() const { return revision_number_; }
  std::int64_t created_at() const { return created_at_; }

  // Paths of the IDs ("/ns/default/sa/web"); the trust domain is the server's own.
  std::string_view spiffe_path() const;
  std::string_view parent_path() const;
  void each_selector(
      const std::function<void(std::string_view type, std::string_view value)>& visit) const;

  // The whole entry as values; costs allocations.
  Entry to_entry() const;

  // The serialised spire.api.types.Entry.
  ByteView wire() const { return wire_; }
  // Appends the serialised message with only `fields` (and the id).
  void append_wire(EntryFields fields, Bytes& out) const;

  std::size_t memory_bytes() const { return sizeof(*this) + wire_.capacity(); }

 private:
  std::string wire_;
  std::int64_t revision_number_;
  std::int64_t created_at_;
  std::uint16_t id_at_ = 0;
  std::uint16_t id_bytes_ = 0;
};

using IndexedEntryPtr = std::shared_ptr<const IndexedEntry>;

}  // namespace steeple::server
