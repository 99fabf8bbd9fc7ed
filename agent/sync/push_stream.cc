// SPDX-License-Identifier: Apache-2.0

#include "agent/sync/push_stream.h"

#include "agent/config/backoff.h"
#include "steeple/server/push/v1/push.pb.h"

namespace steeple::agent {

namespace push_v1 = ::steeple::server::push::v1;

class PushStream::Core {
 public:
  Core(Deps deps, Hooks hooks)
      : deps_(std::move(deps)), hooks_(std::move(hooks)), timer_(deps_.loop) {}

  void open() {
    timer_.cancel();
    call_.reset();
    set_live(false);
    first_ = true;
    push_v1::WatchChangesRequest request;
    request.set_after_revision(synced_.revision);
    request.set_server_instance(synced_.server_instance);
    fresh_ = synced_.revision == 0;
    call_ =
        deps_.server.stream("/steeple.server.push.v1.Push/WatchChanges", {},
                            {.on_message = [this](ByteView message) { received(message); },
                             .on_done = [this](Result<void> status) { ended(std::move(status)); }});
    call_->send(request.SerializeAsString());
    call_->close_send();
  }

  bool live() const { return live_; }
  const PushRevision& announced() const { return announced_; }
  void synced(const PushRevision& revision) { synced_ = revision; }

 private:
  void set_live(bool live) {
    if (live_ != live) {
      live_ = live;
      hooks_.live(live);
    }
  }

  void received(ByteView message) {
    push_v1::WatchChangesResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size())) ||
        response.server_instance().size() > 64) {
      LOG_WARN(deps_.log, "Malformed push message from the server");
      retry(kPushAskAgain);
      return;
    }
    bool first = std::exchange(first_, false);
    announced_ = {response.revision(), response.server_instance()};
    backoff_.reset();
    set_live(true);
    bool entries = response.entries_changed();
    bool bundles = response.bundles_changed();
    if (first && fresh_) {
      // What changed between our last sync and this answer was announced to nobody.
      entries = bundles = true;
    }
    if (entries || bundles) {
      hooks_.changed(entries, bundles);
    }
  }

  void ended(Result<void> status) {
    if (!status.ok() && status.error().code == Code::kUnimplemented) {
      LOG_DEBUG(deps_.log, "The server does not push changes; polling it");
      retry(kPushAskAgain);
      return;
    }
    if (!status.ok()) {
      LOG_DEBUG(deps_.log, "Push stream ended", {"error", status.error()});
    }
    retry(backoff_.next(deps_.random));
    if (!status.ok()) {
      hooks_.failed(status.error());
    }
  }

  void retry(Duration after) {
    call_.reset();
    timer_.start(after, [this] { open(); });
    set_live(false);
  }

  Deps deps_;
  Hooks hooks_;
  bool live_ = false;
  bool first_ = true;
  bool fresh_ = true;
  PushRevision announced_, synced_;
  Backoff backoff_{kPushRetryFirst, kPushRetryMax};
  std::unique_ptr<rpc::ClientCall> call_;
  io::Timer timer_;
};

PushStream::PushStream(Deps deps, Hooks hooks)
    : core_(std::make_shared<Core>(std::move(deps), std::move(hooks))) {}

PushStream::~PushStream() = default;

void PushStream::open() { core_->open(); }

bool PushStream::live() const { return core_->live(); }

const PushRevision& PushStream::announced() const { return core_->announced(); }

void PushStream::synced(const PushRevision& revision) { core_->synced(revision); }

}  // namespace steeple::agent
