// SPDX-License-Identifier: Apache-2.0

// steeple.server.push.v1.Push: tells an agent that something concerns it. The stream is an object
// on the loop, fed by the index; news that come while the peer is slow melt into one message.

#include "server/api/failure.h"
#include "server/api/services.h"
#include "steeple/server/push/v1/push.pb.h"

namespace steeple::server {
namespace {

using steeple::server::push::v1::WatchChangesRequest;
using steeple::server::push::v1::WatchChangesResponse;

// Above this much unread news the peer gets no more until it has read them.
constexpr std::size_t kUnreadBytesMax = 1024;
constexpr auto kRetryUnread = std::chrono::milliseconds(100);

class PushStream : public std::enable_shared_from_this<PushStream> {
 public:
  PushStream(Endpoint& endpoint, const ServiceDeps& deps, std::string instance,
             std::weak_ptr<rpc::ServerStream> stream)
      : endpoint_(endpoint),
        deps_(deps),
        instance_(std::move(instance)),
        stream_(std::move(stream)),
        retry_(endpoint.loop()) {}

  void begin(ByteView raw) {
    auto stream = stream_.lock();
    WatchChangesRequest request;
    if (!stream || subscription_) {
      return;
    }
    if (!request.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
      stream->finish(internal("grpc: error unmarshalling request"));
      return;
    }
    const std::string& agent = caller_of(stream->context()).id()->text();
    // Subscribed before the first answer, so that nothing falls between.
    subscription_ = deps_.index.subscribe(
        agent, [weak = weak_from_this(), &loop = endpoint_.loop()](std::uint64_t revision) {
          loop.post([weak, revision] {
            if (auto self = weak.lock()) {
              self->changed(revision);
            }
          });
        });
    drain_ = deps_.draining->subscribe(
        [weak = weak_from_this(), &loop = endpoint_.loop()](const auto& /*draining*/) {
          loop.post([weak] {
            if (auto self = weak.lock()) {
              self->drain();
            }
          });
        });
    revision_ = deps_.index.revision();
    bool same = request.server_instance() == instance_;
    bool news =
        (!same && !request.server_instance().empty()) ||
        (same && request.after_revision() < deps_.index.authorized_entries(agent)->revision);
    send(*stream, news);
    // A ban between the call's authorization and the subscription told nobody.
    check(stream);
  }

  void closed() {
    subscription_.reset();
    drain_ = {};
    retry_.cancel();
  }

 private:
  void changed(std::uint64_t revision) {
    revision_ = std::max(revision_, revision);
    auto stream = stream_.lock();
    if (!stream || !subscription_ || checking_) {
      return;
    }
    if (stream->buffered_bytes() > kUnreadBytesMax) {
      retry_.start(kRetryUnread, [this] { changed(revision_); });
      return;
    }
    if (revision_ > sent_) {
      check(stream);
    }
  }

  // The change may be that this agent was banned or evicted, so it is authorized anew each time.
  void check(const std::shared_ptr<rpc::ServerStream>& stream) {
    checking_ = true;
    // The stream must die on the loop, so the worker's reference always comes back.
    auto held = std::make_unique<std::shared_ptr<rpc::ServerStream>>(stream);
    Result<void> submitted =
        endpoint_.workers().submit([self = shared_from_this(), held = std::move(held)]() mutable {
          auto allowed =
              self->deps_.authorizer.authorize((*held)->context().method, (*held)->context().peer);
          Result<void> verdict = allowed.ok() ? Result<void>() : Result<void>(allowed.error());
          self->endpoint_.loop().post(
              [self, held = std::move(held), verdict = std::move(verdict)]() mutable {
                self->checked(**held, std::move(verdict));
              });
        });
    if (!submitted.ok()) {
      checking_ = false;
      retry_.start(kRetryUnread, [this] { changed(revision_); });
    }
  }

  void checked(rpc::ServerStream& stream, Result<void> verdict) {
    checking_ = false;
    if (!subscription_) {
      return;
    }
    if (!verdict.ok()) {
      stream.finish(std::move(verdict));
    } else if (revision_ > sent_) {
      send(stream, true);
    }
  }

  void drain() {
    if (auto stream = stream_.lock()) {
      stream->finish(unavailable("the server is shutting down"));
    }
  }

  void send(rpc::ServerStream& stream, bool news) {
    WatchChangesResponse response;
    response.set_revision(revision_);
    response.set_server_instance(instance_);
    response.set_entries_changed(news);
    response.set_bundles_changed(news);
    sent_ = revision_;
    stream.send(response.SerializeAsString());
  }

  Endpoint& endpoint_;
  const ServiceDeps& deps_;
  std::string instance_;
  std::weak_ptr<rpc::ServerStream> stream_;
  std::unique_ptr<EntryIndex::Subscription> subscription_;
  Watch<bool>::Subscription drain_;
  io::Timer retry_;
  std::uint64_t revision_ = 0;
  std::uint64_t sent_ = 0;
  bool checking_ = false;
};

}  // namespace

void register_push_service(Endpoint& endpoint, const ServiceDeps& deps) {
  // One run of this server: a revision of another run means nothing here.
  std::string instance = deps.random.uuid();
  endpoint.server().stream(
      "/steeple.server.push.v1.Push/WatchChanges",
      [&endpoint, &deps, instance](const std::shared_ptr<rpc::ServerStream>& stream) {
        auto push = std::make_shared<PushStream>(endpoint, deps, instance, stream);
        stream->on_message([push](ByteView raw) { push->begin(raw); });
        stream->on_closed([push] { push->closed(); });
      });
  endpoint.server().describe(WatchChangesRequest::descriptor()->file()->FindServiceByName("Push"));
}

}  // namespace steeple::server
