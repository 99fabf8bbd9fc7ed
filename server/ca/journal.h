// SPDX-License-Identifier: Apache-2.0

// The CA journal: which authorities this server has prepared and used, so that after a restart it
// goes on with the keys it has. One row of ca_journals per server, in SPIRE's protobuf. A server
// finds its own row by the subject key ids of its keys: the row's active X.509 authority is one of
// them. Used by one thread at a time; calls block.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/keymanager/keymanager.h"
#include "lib/telemetry/log.h"
#include "server/ca/authority.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

// The newest of a kind that are kept.
inline constexpr std::size_t kJournalEntriesMax = 10;
inline constexpr std::size_t kJournalBytesMax = std::size_t{1} << 20;

// X.509 entries have a certificate, JWT (and WIT) entries a public key. Times are Unix seconds.
struct JournalEntry {
  std::string slot_id;
  std::int64_t issued_at = 0;
  std::int64_t not_after = 0;
  SlotStatus status = SlotStatus::kUnknown;
  std::string authority_id;
  std::string upstream_authority_id = {};
  Bytes certificate = {};                  // DER
  std::vector<Bytes> upstream_chain = {};  // DER
  std::string key_id = {};
  Bytes public_key = {};  // SubjectPublicKeyInfo

  friend bool operator==(const JournalEntry&, const JournalEntry&) = default;
};

// Oldest first. WIT keys are not ours yet, but a SPIRE server's are kept as they are.
struct JournalEntries {
  std::vector<JournalEntry> x509_cas;
  std::vector<JournalEntry> jwt_keys;
  std::vector<JournalEntry> wit_keys;

  friend bool operator==(const JournalEntries&, const JournalEntries&) = default;
};

Result<JournalEntries> parse_journal(ByteView data);
Bytes serialize_journal(const JournalEntries& entries);

enum class JournalKind : std::uint8_t { kX509, kJwt };

class Journal {
 public:
  struct Deps {
    Datastore& datastore;
    keymanager::KeyManager& keys;
    Logger log;
  };

  // Finds this server's row, or begins an empty journal.
  static Result<Journal> load(Deps deps);

  const JournalEntries& entries() const { return entries_; }
  const std::vector<JournalEntry>& entries(JournalKind kind) const;

  // Both keep the change in memory when they cannot store it; `save` tries again.
  // Adds the newest; drops what exceeds kJournalEntriesMax.
  Result<void> append(JournalKind kind, JournalEntry entry);
  // One write for a whole step: `old_id` (may be empty) becomes old and `active_id` active.
  Result<void> activate(JournalKind kind, const std::string& active_id, const std::string& old_id);
  // Stores what is not stored yet. Without an active X.509 authority there is no row to store in.
  Result<void> save();

 private:
  explicit Journal(Deps deps) : deps_(std::move(deps)) {}
  std::vector<JournalEntry>& list(JournalKind kind);

  Deps deps_;
  std::uint64_t row_id_ = 0;  // 0: no row yet
  std::string active_x509_authority_id_;
  JournalEntries entries_;
  bool dirty_ = false;
};

}  // namespace steeple::server
