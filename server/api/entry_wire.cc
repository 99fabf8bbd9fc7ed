// SPDX-License-Identifier: Apache-2.0

#include "server/api/entry_wire.h"

namespace steeple::server {
namespace {

constexpr int kVarint = 0;
constexpr int kLengthDelimited = 2;

void append_tag(int field, int wire_type, Bytes& out) {
  append_varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type),
                out);
}

}  // namespace

EntryFields fields_of(const spire::api::types::EntryMask* mask) {
  if (mask == nullptr) {
    return kAllEntryFields;
  }
  EntryFields fields = 0;
  auto add = [&fields](bool wanted, int number) {
    fields |= wanted ? EntryFields{1} << number : 0;
  };
  using Proto = spire::api::types::Entry;
  add(mask->spiffe_id(), Proto::kSpiffeIdFieldNumber);
  add(mask->parent_id(), Proto::kParentIdFieldNumber);
  add(mask->selectors(), Proto::kSelectorsFieldNumber);
  add(mask->x509_svid_ttl(), Proto::kX509SvidTtlFieldNumber);
  add(mask->federates_with(), Proto::kFederatesWithFieldNumber);
  add(mask->admin(), Proto::kAdminFieldNumber);
  add(mask->downstream(), Proto::kDownstreamFieldNumber);
  add(mask->expires_at(), Proto::kExpiresAtFieldNumber);
  add(mask->dns_names(), Proto::kDnsNamesFieldNumber);
  add(mask->revision_number(), Proto::kRevisionNumberFieldNumber);
  add(mask->store_svid(), Proto::kStoreSvidFieldNumber);
  add(mask->jwt_svid_ttl(), Proto::kJwtSvidTtlFieldNumber);
  add(mask->hint(), Proto::kHintFieldNumber);
  add(mask->created_at(), Proto::kCreatedAtFieldNumber);
  add(mask->additional_attributes(), Proto::kAdditionalAttributesFieldNumber);
  return fields;
}

void append_varint(std::uint64_t value, Bytes& out) {
  while (value >= 0x80) {
    out += static_cast<char>((value & 0x7f) | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void append_bytes_field(int field, ByteView bytes, Bytes& out) {
  append_tag(field, kLengthDelimited, out);
  append_varint(bytes.size(), out);
  out += bytes;
}

void append_int_field(int field, std::int64_t value, Bytes& out) {
  if (value != 0) {
    append_tag(field, kVarint, out);
    append_varint(static_cast<std::uint64_t>(value), out);
  }
}

void append_entry(int field, const IndexedEntry& entry, EntryFields fields, Bytes& out) {
  if (fields == kAllEntryFields) {
    append_bytes_field(field, entry.wire(), out);
    return;
  }
  Bytes masked;
  masked.reserve(entry.wire().size());
  entry.append_wire(fields, masked);
  append_bytes_field(field, masked, out);
}

void append_revision(int field, const IndexedEntry& entry, Bytes& out) {
  Bytes message;
  append_bytes_field(1, entry.id(), message);
  append_int_field(2, entry.revision_number(), message);
  append_int_field(3, entry.created_at(), message);
  append_bytes_field(field, message, out);
}

}  // namespace steeple::server
