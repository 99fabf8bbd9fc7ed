// SPDX-License-Identifier: Apache-2.0

#include "server/ca/journal.h"

#include <fmt/format.h>

#include <ranges>
#include <utility>

#include "lib/base/check.h"
#include "private/server/journal/journal.pb.h"

namespace steeple::server {

namespace {

SlotStatus from_proto(::Status status) {
  switch (status) {
    case ::PREPARED:
      return SlotStatus::kPrepared;
    case ::ACTIVE:
      return SlotStatus::kActive;
    case ::OLD:
      return SlotStatus::kOld;
    default:
      return SlotStatus::kUnknown;
  }
}

::Status to_proto(SlotStatus status) { return static_cast<::Status>(std::to_underlying(status)); }

JournalEntry from_proto(const ::X509CAEntry& in) {
  return {.slot_id = in.slot_id(),
          .issued_at = in.issued_at(),
          .not_after = in.not_after(),
          .status = from_proto(in.status()),
          .authority_id = in.authority_id(),
          .upstream_authority_id = in.upstream_authority_id(),
          .certificate = in.certificate(),
          .upstream_chain = {in.upstream_chain().begin(), in.upstream_chain().end()}};
}

void to_proto(const JournalEntry& in, ::X509CAEntry* out) {
  out->set_slot_id(in.slot_id);
  out->set_issued_at(in.issued_at);
  out->set_not_after(in.not_after);
  out->set_status(to_proto(in.status));
  out->set_authority_id(in.authority_id);
  out->set_upstream_authority_id(in.upstream_authority_id);
  out->set_certificate(in.certificate);
  for (const Bytes& certificate : in.upstream_chain) {
    out->add_upstream_chain(certificate);
  }
}

// JWTKeyEntry and WITKeyEntry have the same fields.
template <class KeyEntry>
JournalEntry from_key_proto(const KeyEntry& in) {
  return {.slot_id = in.slot_id(),
          .issued_at = in.issued_at(),
          .not_after = in.not_after(),
          .status = from_proto(in.status()),
          .authority_id = in.authority_id(),
          .key_id = in.kid(),
          .public_key = in.public_key()};
}

template <class KeyEntry>
void to_key_proto(const JournalEntry& in, KeyEntry* out) {
  out->set_slot_id(in.slot_id);
  out->set_issued_at(in.issued_at);
  out->set_not_after(in.not_after);
  out->set_status(to_proto(in.status));
  out->set_authority_id(in.authority_id);
  out->set_kid(in.key_id);
  out->set_public_key(in.public_key);
}

}  // namespace

Result<JournalEntries> parse_journal(ByteView data) {
  if (data.size() > kJournalBytesMax) {
    return resource_exhausted(
        fmt::format("CA journal of {} bytes is larger than {}", data.size(), kJournalBytesMax));
  }
  ::Entries proto;
  if (!proto.ParseFromArray(data.data(), static_cast<int>(data.size()))) {
    return Error{Code::kDataLoss, "unable to unmarshal entries from CA journal record"};
  }
  JournalEntries out;
  for (const auto& entry : proto.x509cas()) {
    out.x509_cas.push_back(from_proto(entry));
  }
  for (const auto& entry : proto.jwtkeys()) {
    out.jwt_keys.push_back(from_key_proto(entry));
  }
  for (const auto& entry : proto.witkeys()) {
    out.wit_keys.push_back(from_key_proto(entry));
  }
  return out;
}

Bytes serialize_journal(const JournalEntries& entries) {
  ::Entries proto;
  for (const JournalEntry& entry : entries.x509_cas) {
    to_proto(entry, proto.add_x509cas());
  }
  for (const JournalEntry& entry : entries.jwt_keys) {
    to_key_proto(entry, proto.add_jwtkeys());
  }
  for (const JournalEntry& entry : entries.wit_keys) {
    to_key_proto(entry, proto.add_witkeys());
  }
  return proto.SerializeAsString();
}

Result<Journal> Journal::load(Deps deps) {
  Journal journal(std::move(deps));
  const Deps& own = journal.deps_;
  LOG_DEBUG(own.log, "Loading journal from datastore");
  auto keys = TRY(own.keys.get_keys().during("failed to get keys from key manager"));
  for (const keymanager::Key& key : keys) {
    const std::string authority_id = hex_encode(key.signer->public_key().subject_key_id());
    auto row = TRY(own.datastore.fetch_ca_journal(authority_id)
                       .during("failed to fetch CA journal from datastore"));
    if (!row) {
      continue;
    }
    LOG_DEBUG(own.log, "Found a CA journal record that matches with a local X509 authority ID",
              {"ca_journal_id", row->id}, {"local_authority_id", authority_id});
    journal.row_id_ = row->id;
    journal.active_x509_authority_id_ = authority_id;
    journal.entries_ = TRY(parse_journal(row->data));
    break;
  }
  if (journal.row_id_ == 0) {
    LOG_INFO(own.log,
             "There is not a CA journal record that matches any of the local X509 authority IDs");
  }
  LOG_INFO(own.log, "Journal loaded", {"jwt_keys", journal.entries_.jwt_keys.size()},
           {"wit_keys", journal.entries_.wit_keys.size()},
           {"x509_cas", journal.entries_.x509_cas.size()});
  return journal;
}

const std::vector<JournalEntry>& Journal::entries(JournalKind kind) const {
  return kind == JournalKind::kX509 ? entries_.x509_cas : entries_.jwt_keys;
}

std::vector<JournalEntry>& Journal::list(JournalKind kind) {
  return kind == JournalKind::kX509 ? entries_.x509_cas : entries_.jwt_keys;
}

Result<void> Journal::append(JournalKind kind, JournalEntry entry) {
  auto& entries = list(kind);
  entries.push_back(std::move(entry));
  if (entries.size() > kJournalEntriesMax) {
    entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(kJournalEntriesMax));
  }
  dirty_ = true;
  return save();
}

Result<void> Journal::activate(JournalKind kind, const std::string& active_id,
                               const std::string& old_id) {
  bool found = false;
  bool old_found = old_id.empty();
  // Newest first: an authority id is unique but for entries of a damaged journal.
  for (JournalEntry& entry : std::views::reverse(list(kind))) {
    if (!found && entry.authority_id == active_id) {
      found = true;
      dirty_ |= entry.status != SlotStatus::kActive;
      entry.status = SlotStatus::kActive;
    } else if (!old_found && entry.authority_id == old_id) {
      old_found = true;
      dirty_ |= entry.status != SlotStatus::kOld;
      entry.status = SlotStatus::kOld;
    }
  }
  if (!found) {
    return not_found(fmt::format("no journal entry found with authority ID \"{}\"", active_id));
  }
  if (kind == JournalKind::kX509 && active_x509_authority_id_ != active_id) {
    active_x509_authority_id_ = active_id;
    dirty_ = true;
  }
  return save();
}

Result<void> Journal::save() {
  if (!dirty_) {
    return {};
  }
  if (row_id_ == 0) {
    if (active_x509_authority_id_.empty()) {
      LOG_DEBUG(deps_.log,
                "There is no active X.509 authority yet. Can't save CA journal in the datastore");
      return {};
    }
    LOG_INFO(deps_.log, "Creating a new CA journal entry");
  }
  CaJournal row{.id = row_id_,
                .data = serialize_journal(entries_),
                .active_x509_authority_id = active_x509_authority_id_};
  auto stored = deps_.datastore.set_ca_journal(row);
  if (!stored.ok() && stored.error().code == Code::kNotFound && row.id != 0) {
    // Somebody pruned the row of this server while it was away.
    row.id = 0;
    stored = deps_.datastore.set_ca_journal(row);
  }
  row_id_ = TRY(std::move(stored).during("could not save CA journal in the datastore")).id;
  dirty_ = false;
  LOG_DEBUG(deps_.log, "Successfully stored CA journal entry in datastore",
            {"ca_journal_id", row_id_}, {"local_authority_id", active_x509_authority_id_});
  return {};
}

}  // namespace steeple::server
