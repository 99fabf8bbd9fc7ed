// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/client.h"

#include <fmt/format.h>

#include "lib/rpc/channel_core.h"
#include "lib/tls/handshake.h"

namespace steeple::rpc {
namespace {

constexpr double kBackoffJitter = 0.2;
constexpr int kBackoffFactor = 2;

// The user's side of a call.
class Handle final : public ClientCall {
 public:
  explicit Handle(std::shared_ptr<OutgoingCall> call) : call_(std::move(call)) {}
  ~Handle() override { call_->cancel(); }
  void send(Bytes message) override { call_->send(std::move(message)); }
  void close_send() override { call_->close_send(); }

 private:
  const std::shared_ptr<OutgoingCall> call_;
};

std::string authority_of(const io::Endpoint& endpoint) {
  return endpoint.unix_path.empty() ? endpoint.text() : "localhost";
}

// As gRPC for Go words it.
Error connection_error(const Error& error, std::string_view phase) {
  return unavailable(
      fmt::format("connection error: desc = \"transport: {}: {}\"", phase, error.message));
}

ChannelOptions with_user_agent(ChannelOptions options) {
  if (options.user_agent.empty()) {
    options.user_agent = "grpc-steeple/1";
  }
  return options;
}

}  // namespace

ChannelCore::ChannelCore(Channel::Deps chosen, io::Endpoint to,
                         std::shared_ptr<const tls::ClientPolicy> policy, ChannelOptions how)
    : deps(chosen),
      endpoint(std::move(to)),
      options(with_user_agent(std::move(how))),
      authority(policy && !policy->server_name.empty() ? policy->server_name
                                                       : authority_of(endpoint)),
      policy_(std::move(policy)) {
  CHECK(!policy_ || deps.tls != nullptr);
}

// A call that cannot even start fails later, when the caller holds its handle.
void ChannelCore::begin(const std::shared_ptr<OutgoingCall>& call) {
  bool backing_off = !connecting_ && deps.loop.clock().steady() < retry_at_;
  if ((current_ && current_->accepts_calls()) || !backing_off) {
    submit(call);
  } else {
    resubmit(call);
  }
}

void ChannelCore::submit(const std::shared_ptr<OutgoingCall>& call) {
  if (call->done()) {
    return;
  }
  if (closed_) {
    call->fail(cancelled("grpc: the client connection is closing"));
    return;
  }
  if (current_ && current_->open(call)) {
    return;
  }
  if (current_) {  // its stream numbers are used up, or it is leaving
    std::shared_ptr<ClientConnection> old = current_;
    retire(*old);
    old->drain();
  }
  if (!connecting_ && deps.loop.clock().steady() < retry_at_) {
    call->fail(last_error_);
    return;
  }
  waiting_.push_back(call);
  connect();
}

// Not inside nghttp2's callback, where it is called from.
void ChannelCore::resubmit(const std::shared_ptr<OutgoingCall>& call) {
  deps.loop.post([weak = weak_from_this(), call] {
    if (auto self = weak.lock()) {
      self->submit(call);
    } else {
      call->fail(cancelled("grpc: the client connection is closing"));
    }
  });
}

void ChannelCore::connect() {
  if (connecting_) {
    return;
  }
  connecting_ = true;
  std::uint64_t attempt = ++attempt_;
  SteadyTime deadline = deps.loop.clock().steady() + options.connect_timeout;
  deps.network.connect(
      deps.loop, endpoint, options.connect_timeout,
      [weak = weak_from_this(), attempt, deadline](Result<std::unique_ptr<io::Connection>> raw) {
        if (auto self = weak.lock()) {
          self->connected(attempt, deadline, std::move(raw));
        }
      });
}

void ChannelCore::connected(std::uint64_t attempt, SteadyTime deadline,
                            Result<std::unique_ptr<io::Connection>> raw) {
  if (closed_ || attempt != attempt_) {
    return;
  }
  if (!raw.ok()) {
    back_off(connection_error(raw.error(), "Error while dialing"));
    return;
  }
  if (!policy_) {
    adopt(std::move(*raw));
    return;
  }
  Duration left = std::max<Duration>(deadline - deps.loop.clock().steady(), Duration(1));
  deps.tls->connect(
      deps.loop, std::move(*raw), policy_, left,
      [weak = weak_from_this(), attempt](Result<std::unique_ptr<io::Connection>> secure) {
        if (auto self = weak.lock()) {
          self->secured(attempt, std::move(secure));
        }
      });
}

void ChannelCore::secured(std::uint64_t attempt, Result<std::unique_ptr<io::Connection>> secure) {
  if (closed_ || attempt != attempt_) {
    return;
  }
  if (!secure.ok()) {
    back_off(connection_error(secure.error(), "authentication handshake failed"));
    return;
  }
  adopt(std::move(*secure));
}

void ChannelCore::adopt(std::unique_ptr<io::Connection> connection) {
  connecting_ = false;
  current_ = std::make_shared<ClientConnection>(*this, std::move(connection), options);
  std::shared_ptr<ClientConnection> present = current_;
  std::vector<std::shared_ptr<OutgoingCall>> calls = std::exchange(waiting_, {});
  // Requests go out with the preface, in one write.
  for (const auto& call : calls) {
    if (!call->done() && !present->open(call)) {
      call->fail(unavailable("connection error: no stream could be opened"));
    }
  }
  present->begin(options.connect_timeout);
}

void ChannelCore::connection_ready() {
  backoff_ = Duration::zero();
  retry_at_ = SteadyTime::min();
}

void ChannelCore::back_off(Error error) {
  connecting_ = false;
  last_error_ = std::move(error);
  backoff_ = backoff_ == Duration::zero()
                 ? options.backoff_first
                 : std::min(backoff_ * kBackoffFactor, options.backoff_max);
  retry_at_ = deps.loop.clock().steady() + deps.random.jitter(backoff_, kBackoffJitter);
  fail_waiting(last_error_);
}

void ChannelCore::fail_waiting(const Error& error) {
  for (const auto& call : std::exchange(waiting_, {})) {
    call->fail(error);
  }
}

void ChannelCore::retire(ClientConnection& connection) {
  if (current_.get() == &connection) {
    retired_.insert(std::exchange(current_, nullptr));
  }
}

void ChannelCore::connection_closed(ClientConnection& connection, bool was_ready,
                                    const Error& why) {
  auto kept = std::static_pointer_cast<ClientConnection>(connection.shared_from_this());
  retire(connection);
  retired_.erase(kept);
  if (!was_ready && !closed_) {
    // It never spoke: a server that hangs up on us is a server that is not there.
    back_off(why);
  }
}

void ChannelCore::reconnect() {
  if (current_) {
    std::shared_ptr<ClientConnection> old = current_;
    retire(*old);
    old->drain();
  }
  if (connecting_) {
    // The handshake under way may show the old identity; its outcome is ignored.
    connecting_ = false;
    ++attempt_;
    if (!waiting_.empty()) {
      connect();
    }
  }
  retry_at_ = SteadyTime::min();
}

void ChannelCore::close() {
  closed_ = true;
  fail_waiting(cancelled("grpc: the client connection is closing"));
  auto all = std::exchange(retired_, {});
  if (current_) {
    all.insert(std::exchange(current_, nullptr));
  }
  for (const auto& connection : all) {
    connection->disconnect(cancelled("grpc: the client connection is closing"));
  }
}

std::shared_ptr<const io::Peer> ChannelCore::peer() const {
  return current_ ? current_->peer() : nullptr;
}

Channel::Channel(Deps deps, io::Endpoint endpoint, std::shared_ptr<const tls::ClientPolicy> policy,
                 ChannelOptions options)
    : core_(std::make_shared<ChannelCore>(deps, std::move(endpoint), std::move(policy),
                                          std::move(options))) {}

Channel::~Channel() {
  CHECK(core_->deps.loop.on_loop());
  core_->close();
}

std::unique_ptr<ClientCall> Channel::unary(std::string method, Bytes request, CallOptions options,
                                           UnaryReply reply) {
  auto call = std::make_shared<OutgoingCall>(*core_, std::move(method), std::move(options));
  call->answer_unary(std::move(reply));
  call->send(std::move(request));
  call->close_send();
  call->start_deadline();
  core_->begin(call);
  return std::make_unique<Handle>(std::move(call));
}

std::unique_ptr<ClientCall> Channel::stream(std::string method, CallOptions options,
                                            StreamReply reply) {
  auto call = std::make_shared<OutgoingCall>(*core_, std::move(method), std::move(options));
  call->answer_stream(std::move(reply));
  call->start_deadline();
  core_->begin(call);
  return std::make_unique<Handle>(std::move(call));
}

void Channel::reconnect() { core_->reconnect(); }

std::shared_ptr<const io::Peer> Channel::peer() const { return core_->peer(); }

}  // namespace steeple::rpc
