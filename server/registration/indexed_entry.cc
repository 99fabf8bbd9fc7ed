// SPDX-License-Identifier: Apache-2.0

#include "server/registration/indexed_entry.h"

#include "lib/base/check.h"

namespace steeple::server {
namespace {

// Field numbers of spire.api.types.Entry and its parts; a test compares them with the generated
// code.
enum Field : std::uint32_t {
  kId = 1,
  kSpiffeId = 2,
  kParentId = 3,
  kSelectors = 4,
  kX509SvidTtl = 5,
  kFederatesWith = 6,
  kAdmin = 7,
  kDownstream = 8,
  kExpiresAt = 9,
  kDnsNames = 10,
  kRevisionNumber = 11,
  kStoreSvid = 12,
  kJwtSvidTtl = 13,
  kHint = 14,
  kCreatedAt = 15,
  kAdditionalAttributes = 16,
};
constexpr std::uint32_t kFirst = 1;   // SPIFFEID.trust_domain, Selector.type, prefetch
constexpr std::uint32_t kSecond = 2;  // SPIFFEID.path, Selector.value, jti

// Two wire types occur: 0 (varint) and 2 (length and bytes).
constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kBytes = 2;

void put_varint(std::uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void put_number(std::uint32_t field, std::int64_t value, std::string& out) {
  if (value != 0) {
    put_varint(field << 3 | kVarint, out);
    put_varint(static_cast<std::uint64_t>(value), out);
  }
}

void put_bytes(std::uint32_t field, std::string_view bytes, std::string& out) {
  put_varint(field << 3 | kBytes, out);
  put_varint(bytes.size(), out);
  out += bytes;
}

void put_text(std::uint32_t field, std::string_view text, std::string& out) {
  if (!text.empty()) {
    put_bytes(field, text, out);
  }
}

void put_pair(std::uint32_t field, std::string_view first, std::string_view second,
              std::string& out) {
  std::string pair;
  put_text(kFirst, first, pair);
  put_text(kSecond, second, pair);
  put_bytes(field, pair, out);
}

// Walks the fields of our own bytes.
struct Walk {
  std::string_view rest;
  std::uint32_t field = 0;
  std::int64_t number = 0;
  std::string_view bytes = {};
  std::string_view whole = {};  // tag and value

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      CHECK(!rest.empty());
      auto byte = static_cast<std::uint8_t>(rest.front());
      rest.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) {
        break;
      }
    }
    return value;
  }

  bool next() {
    if (rest.empty()) {
      return false;
    }
    std::string_view start = rest;
    std::uint64_t tag = varint();
    field = static_cast<std::uint32_t>(tag >> 3);
    if ((tag & 7) == kVarint) {
      number = static_cast<std::int64_t>(varint());
    } else {
      std::uint64_t size = varint();
      CHECK(size <= rest.size());
      bytes = rest.substr(0, size);
      rest.remove_prefix(size);
    }
    whole = start.substr(0, start.size() - rest.size());
    return true;
  }
};

struct Pair {
  std::string_view first, second;
};

Pair read_pair(std::string_view bytes) {
  Pair pair;
  for (Walk walk{bytes}; walk.next();) {
    (walk.field == kFirst ? pair.first : pair.second) = walk.bytes;
  }
  return pair;
}

spiffe::SpiffeId read_id(std::string_view bytes) {
  Pair pair = read_pair(bytes);
  std::string text = "spiffe://";
  text += pair.first;
  text += pair.second;
  return spiffe::SpiffeId::parse(text).take();  // it was one when it was written
}

std::string encode(const Entry& entry) {
  std::string out;
  put_text(kId, entry.id, out);
  put_pair(kSpiffeId, entry.spiffe_id.trust_domain_name(), entry.spiffe_id.path(), out);
  put_pair(kParentId, entry.parent_id.trust_domain_name(), entry.parent_id.path(), out);
  for (const Selector& selector : entry.selectors) {
    put_pair(kSelectors, selector.type, selector.value, out);
  }
  put_number(kX509SvidTtl, entry.x509_svid_ttl.count(), out);
  for (const auto& domain : entry.federates_with) {
    put_bytes(kFederatesWith, domain.name(), out);
  }
  put_number(kAdmin, entry.admin ? 1 : 0, out);
  put_number(kDownstream, entry.downstream ? 1 : 0, out);
  put_number(kExpiresAt, entry.expires_at, out);
  for (const std::string& name : entry.dns_names) {
    put_bytes(kDnsNames, name, out);
  }
  put_number(kRevisionNumber, entry.revision_number, out);
  put_number(kStoreSvid, entry.store_svid ? 1 : 0, out);
  put_number(kJwtSvidTtl, entry.jwt_svid_ttl.count(), out);
  put_text(kHint, entry.hint, out);
  put_number(kCreatedAt, entry.created_at, out);
  if (entry.disable_x509_svid_prefetch || entry.jwt_svid_include_jti) {
    std::string attributes;
    put_number(kFirst, entry.disable_x509_svid_prefetch ? 1 : 0, attributes);
    put_number(kSecond, entry.jwt_svid_include_jti ? 1 : 0, attributes);
    put_bytes(kAdditionalAttributes, attributes, out);
  }
  return out;
}

// Puts one field of the walk into `entry`.
void read_field(const Walk& walk, Entry& entry) {
  switch (walk.field) {
    case kId:
      entry.id = walk.bytes;
      break;
    case kSelectors: {
      Pair pair = read_pair(walk.bytes);
      entry.selectors.push_back({std::string(pair.first), std::string(pair.second)});
      break;
    }
    case kX509SvidTtl:
      entry.x509_svid_ttl = std::chrono::seconds(walk.number);
      break;
    case kFederatesWith:
      entry.federates_with.push_back(spiffe::TrustDomain::parse(walk.bytes).take());
      break;
    case kAdmin:
      entry.admin = walk.number != 0;
      break;
    case kDownstream:
      entry.downstream = walk.number != 0;
      break;
    case kExpiresAt:
      entry.expires_at = walk.number;
      break;
    case kDnsNames:
      entry.dns_names.emplace_back(walk.bytes);
      break;
    case kRevisionNumber:
      entry.revision_number = walk.number;
      break;
    case kStoreSvid:
      entry.store_svid = walk.number != 0;
      break;
    case kJwtSvidTtl:
      entry.jwt_svid_ttl = std::chrono::seconds(walk.number);
      break;
    case kHint:
      entry.hint = walk.bytes;
      break;
    case kCreatedAt:
      entry.created_at = walk.number;
      break;
    case kAdditionalAttributes:
      for (Walk inner{walk.bytes}; inner.next();) {
        (inner.field == kFirst ? entry.disable_x509_svid_prefetch : entry.jwt_svid_include_jti) =
            inner.number != 0;
      }
      break;
    default:
      break;
  }
}

std::string_view path_of_field(std::string_view wire, std::uint32_t field) {
  for (Walk walk{wire}; walk.next();) {
    if (walk.field == field) {
      return read_pair(walk.bytes).second;
    }
  }
  return {};
}

}  // namespace

IndexedEntry::IndexedEntry(const Entry& entry)
    : wire_(encode(entry)), revision_number_(entry.revision_number), created_at_(entry.created_at) {
  wire_.shrink_to_fit();
  Walk walk{wire_};
  CHECK(walk.next() && walk.field == kId);
  id_at_ = static_cast<std::uint16_t>(walk.bytes.data() - wire_.data());
  id_bytes_ = static_cast<std::uint16_t>(walk.bytes.size());
}

std::string_view IndexedEntry::spiffe_path() const { return path_of_field(wire_, kSpiffeId); }
std::string_view IndexedEntry::parent_path() const { return path_of_field(wire_, kParentId); }

void IndexedEntry::each_selector(
    const std::function<void(std::string_view, std::string_view)>& visit) const {
  for (Walk walk{wire_}; walk.next() && walk.field <= kSelectors;) {
    if (walk.field == kSelectors) {
      Pair pair = read_pair(walk.bytes);
      visit(pair.first, pair.second);
    }
  }
}

Entry IndexedEntry::to_entry() const {
  Walk walk{wire_};
  CHECK(walk.next());
  std::string id(walk.bytes);
  CHECK(walk.next() && walk.field == kSpiffeId);
  auto spiffe_id = read_id(walk.bytes);
  CHECK(walk.next() && walk.field == kParentId);
  Entry entry{
      .id = std::move(id), .spiffe_id = std::move(spiffe_id), .parent_id = read_id(walk.bytes)};
  while (walk.next()) {
    read_field(walk, entry);
  }
  return entry;
}

void IndexedEntry::append_wire(EntryFields fields, Bytes& out) const {
  if ((fields & kAllEntryFields) == kAllEntryFields) {
    out += wire_;
    return;
  }
  fields |= 1U << kId;
  for (Walk walk{wire_}; walk.next();) {
    if ((fields >> walk.field & 1U) != 0) {
      out += walk.whole;
    }
  }
}

}  // namespace steeple::server
