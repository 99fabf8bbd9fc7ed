// SPDX-License-Identifier: Apache-2.0

#include "agent/sync/entry_sync.h"

#include <algorithm>
#include <set>

#include "agent/nodeattestor/attestation.h"
#include "lib/base/limits.h"
#include "spire/api/server/entry/v1/entry.pb.h"

namespace steeple::agent {

namespace entry_v1 = ::spire::api::server::entry::v1;

namespace {

constexpr std::size_t kPageBytesMax = std::size_t{64} << 20;

bool stale(const Entry& known, std::int64_t revision, std::int64_t created_at) {
  // An entry deleted and created again under its id may have the same revision.
  return known.revision_number != revision || (created_at != 0 && known.created_at != created_at);
}

}  // namespace

class EntrySync::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(ServerApi& server, const EntryMap& known, Logger log, Done done)
      : server_(server), known_(known), log_(std::move(log)), done_(std::move(done)) {}

  void begin(bool use_sync_rpc) {
    if (!use_sync_rpc) {
      fetch_all();
      return;
    }
    call_ = server_.stream("/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries",
                           {.timeout = kServerCallTimeout, .message_bytes_max = kPageBytesMax},
                           {.on_message = [this](ByteView message) { received(message); },
                            .on_done = [this](Result<void> status) { closed(std::move(status)); }});
    entry_v1::SyncAuthorizedEntriesRequest request;
    *request.mutable_output_mask() = entry_output_mask();
    call_->send(request.SerializeAsString());
  }

 private:
  enum class Phase : std::uint8_t { kFirst, kRevisions, kEntries, kOver };

  void fetch_all() {
    call_ = server_.get_authorized_entries(
        [this](Result<std::vector<EntryPtr>> entries) {
          if (!entries.ok()) {
            finish(std::move(entries.error()));
            return;
          }
          for (EntryPtr& entry : *entries) {
            take(std::move(entry));
          }
          complete();
        },
        log_);
  }

  void received(ByteView message) {
    if (phase_ == Phase::kOver) {
      return;
    }
    entry_v1::SyncAuthorizedEntriesResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      finish(internal("failed to fetch authorized entries: malformed response"));
      return;
    }
    switch (phase_) {
      case Phase::kFirst:
        if (response.entry_revisions().empty()) {
          take_all(response);  // few entries: here they are
          complete();
          return;
        }
        page_ = std::min<std::size_t>(static_cast<std::size_t>(response.entry_revisions_size()),
                                      limits::kPageEntriesMax);
        phase_ = Phase::kRevisions;
        take_revisions(response);
        return;
      case Phase::kRevisions:
        take_revisions(response);
        return;
      case Phase::kEntries:
        if (!response.entry_revisions().empty()) {
          finish(internal("unexpected entry revisions in response while requesting entries"));
          return;
        }
        take_all(response);
        if (!response.more()) {
          ask_for_page();
        }
        return;
      case Phase::kOver:
        return;
    }
  }

  void take_revisions(const entry_v1::SyncAuthorizedEntriesResponse& response) {
    if (!response.entries().empty()) {
      finish(internal("unexpected entry in response receiving entry revisions"));
      return;
    }
    for (const auto& revision : response.entry_revisions()) {
      if (revision.id().empty() || revision.revision_number() < 0) {
        LOG_WARN(log_,
                 "Received malformed entry revision from SPIRE server; are the server and agent "
                 "versions compatible?",
                 {"entry_id", revision.id()}, {"revision_number", revision.revision_number()});
        continue;
      }
      seen_.insert(revision.id());
      auto known = known_.find(revision.id());
      if (known == known_.end() ||
          stale(*known->second, revision.revision_number(), revision.created_at())) {
        wanted_.push_back(revision.id());
      }
    }
    if (seen_.size() > kSyncEntriesMax) {
      finish(resource_exhausted("failed to fetch authorized entries: too many entries"));
      return;
    }
    if (!response.more()) {
      std::sort(wanted_.begin(), wanted_.end());
      phase_ = Phase::kEntries;
      ask_for_page();
    }
  }

  void ask_for_page() {
    if (asked_ == wanted_.size()) {
      complete();
      return;
    }
    entry_v1::SyncAuthorizedEntriesRequest request;
    std::size_t end = std::min(asked_ + page_, wanted_.size());
    while (asked_ < end) {
      request.add_ids(wanted_[asked_++]);
    }
    call_->send(request.SerializeAsString());
  }

  void take_all(const entry_v1::SyncAuthorizedEntriesResponse& response) {
    for (const auto& entry : response.entries()) {
      // Most entries are as they were: compare before building anything.
      auto known = known_.find(entry.id());
      if (known != known_.end() &&
          !stale(*known->second, entry.revision_number(), entry.created_at())) {
        seen_.insert(entry.id());
        continue;
      }
      auto checked = entry_from_proto(entry);
      if (checked.ok()) {
        take(std::move(*checked));
      } else {
        LOG_WARN(log_,
                 "Received malformed entry from SPIRE server; are the server and agent versions "
                 "compatible?",
                 {"entry_id", entry.id()}, {"revision_number", entry.revision_number()},
                 {"error", checked.error()});
      }
    }
  }

  void take(EntryPtr entry) {
    seen_.insert(entry->id);
    auto known = known_.find(entry->id);
    if (known == known_.end()) {
      ++out_.missing;
    } else if (stale(*known->second, entry->revision_number, entry->created_at)) {
      ++out_.stale;
    } else {
      return;
    }
    out_.added_or_changed.push_back(std::move(entry));
  }

  void complete() {
    for (const auto& [id, entry] : known_) {
      if (!seen_.contains(id)) {
        out_.removed_ids.push_back(id);
      }
    }
    if (call_) {
      call_->close_send();
    }
    finish(std::move(out_));
  }

  void closed(Result<void> status) {
    if (phase_ == Phase::kOver) {
      return;
    }
    if (!status.ok() && status.error().code == Code::kUnimplemented && phase_ == Phase::kFirst) {
      LOG_DEBUG(log_, "The server has no SyncAuthorizedEntries; fetching all entries");
      fetch_all();
      return;
    }
    finish(status.ok() ? internal("failed to fetch authorized entries: EOF")
                       : call_error(status.error(), "failed to fetch authorized entries"));
  }

  void finish(Result<EntryDifference> result) {
    phase_ = Phase::kOver;
    if (Done done = std::exchange(done_, nullptr)) {
      auto self = shared_from_this();  // our owner may drop us in there
      done(std::move(result));
    }
  }

  ServerApi& server_;
  const EntryMap& known_;
  Logger log_;
  Done done_;
  Phase phase_ = Phase::kFirst;
  std::size_t page_ = limits::kPageEntriesMax;
  std::set<std::string> seen_;
  std::vector<std::string> wanted_;  // new or newer
  std::size_t asked_ = 0;
  EntryDifference out_;
  ServerApi::Handle call_;
};

EntrySync::EntrySync(ServerApi& server, const EntryMap& known, bool use_sync_rpc, Logger log,
                     Done done)
    : core_(std::make_shared<Core>(server, known, std::move(log), std::move(done))) {
  core_->begin(use_sync_rpc);
}

EntrySync::~EntrySync() = default;

}  // namespace steeple::agent
