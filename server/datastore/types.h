// SPDX-License-Identifier: Apache-2.0

// The values that the datastore keeps: entries, attested nodes, join tokens, federation
// relationships, CA journals. Plain data; SPIFFE IDs are parsed types. Times are Unix seconds (the
// database keeps them so), 0 meaning "none" where a field says so.

#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "spiffe/spiffe_id.h"
#include "spiffe/trust_domain.h"

namespace steeple::server {

struct Selector {
  std::string type = {};
  std::string value = {};

  friend auto operator<=>(const Selector&, const Selector&) = default;
};

struct Entry {
  std::string id = {};  // empty on create: the datastore makes a UUID
  spiffe::SpiffeId spiffe_id;
  spiffe::SpiffeId parent_id;
  std::vector<Selector> selectors = {};
  std::chrono::seconds x509_svid_ttl{0};  // 0 = the server's default
  std::chrono::seconds jwt_svid_ttl{0};   // 0 = the server's default
  std::vector<spiffe::TrustDomain> federates_with = {};
  std::vector<std::string> dns_names = {};  // in the order they were given
  bool admin = false;
  bool downstream = false;
  bool store_svid = false;
  bool disable_x509_svid_prefetch = false;
  bool jwt_svid_include_jti = false;
  std::string hint = {};
  std::int64_t expires_at = 0;  // 0 = never
  std::int64_t revision_number = 0;
  std::int64_t created_at = 0;

  friend bool operator==(const Entry&, const Entry&) = default;
};

// Which fields of an Entry an update writes.
struct EntryMask {
  bool spiffe_id = true;
  bool parent_id = true;
  bool selectors = true;
  bool x509_svid_ttl = true;
  bool jwt_svid_ttl = true;
  bool federates_with = true;
  bool dns_names = true;
  bool admin = true;
  bool downstream = true;
  bool store_svid = true;
  bool hint = true;
  bool expires_at = true;
  bool additional_attributes = true;  // disable_x509_svid_prefetch, jwt_svid_include_jti

  static EntryMask none() {
    return {false, false, false, false, false, false, false,
            false, false, false, false, false, false};
  }
};

struct AttestedNode {
  spiffe::SpiffeId spiffe_id;
  std::string attestation_type = {};
  std::string serial = {};         // empty = banned
  std::int64_t not_after = 0;      // of the SVID with `serial`
  std::string new_serial = {};     // renewed, not used yet; empty = none
  std::int64_t new_not_after = 0;  // 0 = none
  bool can_reattest = false;
  std::string agent_version = {};
  std::vector<Selector> selectors = {};  // filled only where a call says so

  bool banned() const { return serial.empty(); }
  friend bool operator==(const AttestedNode&, const AttestedNode&) = default;
};

struct AttestedNodeMask {
  bool attestation_type = true;
  bool serial = true;
  bool not_after = true;
  bool new_serial = true;
  bool new_not_after = true;
  bool can_reattest = true;
  bool agent_version = true;

  static AttestedNodeMask none() { return {false, false, false, false, false, false, false}; }
};

struct JoinToken {
  std::string token = {};
  std::int64_t expires_at = 0;

  friend bool operator==(const JoinToken&, const JoinToken&) = default;
};

enum class BundleEndpointProfile : std::uint8_t { kHttpsWeb, kHttpsSpiffe };

struct FederationRelationship {
  spiffe::TrustDomain trust_domain;
  std::string bundle_endpoint_url = {};  // an absolute https URL, checked by the caller
  BundleEndpointProfile profile = BundleEndpointProfile::kHttpsWeb;
  std::optional<spiffe::SpiffeId> endpoint_spiffe_id = {};  // set exactly for kHttpsSpiffe

  friend bool operator==(const FederationRelationship&, const FederationRelationship&) = default;
};

struct FederationRelationshipMask {
  bool bundle_endpoint_url = true;
  bool profile = true;  // with it goes endpoint_spiffe_id
};

// One server's record of its authorities: spire's private journal protobuf, opaque here but for
// pruning.
struct CaJournal {
  std::uint64_t id = 0;  // 0 = not stored yet
  Bytes data = {};
  std::string active_x509_authority_id = {};

  friend bool operator==(const CaJournal&, const CaJournal&) = default;
};

struct BundleMask {
  bool x509_authorities = true;
  bool jwt_authorities = true;
  bool refresh_hint = true;
  bool sequence_number = true;
};

enum class BundleDeleteMode : std::uint8_t {
  kRestrict,    // refuse while entries federate with it
  kDelete,      // delete those entries too
  kDissociate,  // keep the entries, drop the relation
};

// --- lists -------------------------------------------------------------------------------------

// Compares the set S of the request with the set X of a row.
enum class Match : std::uint8_t {
  kExact,     // X == S
  kSubset,    // X is a subset of S
  kSuperset,  // X contains S
  kAny,       // X and S share an element
};

struct SelectorFilter {
  std::vector<Selector> selectors = {};  // at least one
  Match match = Match::kExact;
};

struct TrustDomainFilter {
  std::vector<spiffe::TrustDomain> trust_domains = {};  // at least one
  Match match = Match::kExact;
};

// The first page has an empty token. An answer with an empty token has no page after it.
struct Pagination {
  std::string token = {};
  std::int32_t page_size = 0;  // > 0; values above limits::kListPageMax are cut to it
};

struct EntryFilter {
  std::optional<spiffe::SpiffeId> parent_id = {};
  std::optional<spiffe::SpiffeId> spiffe_id = {};
  std::optional<SelectorFilter> selectors = {};
  std::optional<TrustDomainFilter> federates_with = {};
  std::optional<std::string> hint = {};
  // True: only downstream entries. False filters nothing: the reference's CLI always sends it.
  bool downstream = false;
};

struct AttestedNodeFilter {
  std::string attestation_type = {};  // empty = any
  std::optional<bool> banned = {};
  std::optional<bool> can_reattest = {};
  std::optional<SelectorFilter> selectors = {};
  std::optional<std::int64_t> expires_before = {};  // Unix seconds
  std::optional<std::int64_t> valid_at = {};        // Unix seconds
  std::vector<spiffe::SpiffeId> spiffe_ids = {};    // empty = any
  bool fetch_selectors = false;
};

// `next` is empty after the last page or when no page was asked for.
template <class T>
struct Page {
  std::vector<T> items = {};
  std::string next = {};
};

// A row of an events table: what changed, not how. Ids rise, with gaps.
struct EntryEvent {
  std::uint64_t id = 0;
  std::string entry_id = {};
};
struct AttestedNodeEvent {
  std::uint64_t id = 0;
  std::string spiffe_id = {};
};

struct EventPosition {
  std::uint64_t entry_event = 0;
  std::uint64_t node_event = 0;
};

}  // namespace steeple::server
