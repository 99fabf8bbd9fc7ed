// SPDX-License-Identifier: Apache-2.0

// Entry.SyncAuthorizedEntries (surface 5.8). Up to a page of entries the first answer has them all;
// above, it has pages of revisions and the agent asks for what it lacks. The whole conversation
// works on the snapshot taken at its start, on the loop: it only reads memory.

#include <algorithm>

#include "server/api/convert.h"
#include "server/api/entry_wire.h"
#include "server/api/failure.h"
#include "server/api/services.h"
#include "spire/api/server/entry/v1/entry.pb.h"

namespace steeple::server {
namespace {

using spire::api::server::entry::v1::SyncAuthorizedEntriesRequest;

class SyncStream {
 public:
  SyncStream(std::weak_ptr<rpc::ServerStream> stream,
             std::shared_ptr<const AuthorizedEntries> entries)
      : stream_(std::move(stream)), entries_(std::move(entries)) {}

  void message(ByteView raw) {
    auto stream = stream_.lock();
    if (!stream) {
      return;
    }
    SyncAuthorizedEntriesRequest request;
    if (!request.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
      stream->finish(internal("grpc: error unmarshalling request"));
      return;
    }
    if (begun_) {
      send_requested(*stream, request);
    } else {
      begin(*stream, request);
    }
  }

  void half_closed() {
    if (auto stream = stream_.lock()) {
      stream->finish({});
    }
  }

 private:
  void begin(rpc::ServerStream& stream, const SyncAuthorizedEntriesRequest& request) {
    if (request.ids_size() > 0) {
      stream.finish(invalid_argument("specifying IDs on initial request is not supported"));
      return;
    }
    if (request.has_output_mask() && !request.output_mask().revision_number()) {
      stream.finish(invalid_argument("revision number cannot be masked"));
      return;
    }
    begun_ = true;
    fields_ = fields_of(output_mask_of(request));
    Caller& caller = caller_of(stream.context());
    if (caller.audit.enabled()) {
      caller.audit.finish(caller.log(), {});
    }
    if (entries_->entries.size() > limits::kPageEntriesMax) {
      send_revisions(stream);
      return;
    }
    Bytes out;
    for (const IndexedEntryPtr& entry : entries_->entries) {
      append_entry(kSyncEntriesField, *entry, fields_, out);
    }
    stream.send(std::move(out));
    stream.finish({});
  }

  void send_revisions(rpc::ServerStream& stream) {
    const auto& all = entries_->entries;
    for (std::size_t at = 0; at < all.size(); at += limits::kPageEntriesMax) {
      std::size_t end = std::min(at + limits::kPageEntriesMax, all.size());
      Bytes out;
      for (std::size_t i = at; i < end; ++i) {
        append_revision(kSyncRevisionsField, *all[i], out);
      }
      append_int_field(kSyncMoreField, end < all.size() ? 1 : 0, out);
      stream.send(std::move(out));
    }
  }

  void send_requested(rpc::ServerStream& stream, const SyncAuthorizedEntriesRequest& request) {
    Bytes out;
    std::size_t count = 0;
    for (const std::string& id : request.ids()) {
      const IndexedEntry* entry = entries_->find(id);
      if (entry == nullptr) {
        continue;
      }
      if (count == limits::kPageEntriesMax) {
        append_int_field(kSyncMoreField, 1, out);
        stream.send(std::exchange(out, {}));
        count = 0;
      }
      append_entry(kSyncEntriesField, *entry, fields_, out);
      ++count;
    }
    stream.send(std::move(out));
  }

  std::weak_ptr<rpc::ServerStream> stream_;
  std::shared_ptr<const AuthorizedEntries> entries_;
  EntryFields fields_ = kAllEntryFields;
  bool begun_ = false;
};

}  // namespace

void register_sync_entries(Endpoint& endpoint, const ServiceDeps& deps) {
  endpoint.server().stream("/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries",
                           [&deps](std::shared_ptr<rpc::ServerStream> stream) {
                             Caller& caller = caller_of(stream->context());
                             auto sync = std::make_shared<SyncStream>(
                                 stream, deps.index.authorized_entries(caller.id()->text()));
                             stream->on_message([sync](ByteView raw) { sync->message(raw); });
                             stream->on_half_close([sync] { sync->half_closed(); });
                           });
}

}  // namespace steeple::server
