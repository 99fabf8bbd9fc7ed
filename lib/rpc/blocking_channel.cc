// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/blocking_channel.h"

#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"

namespace steeple::rpc {

struct BlockingChannel::State {
  State(io::Endpoint endpoint, std::shared_ptr<const tls::ClientPolicy> policy,
        tls::Handshake* handshake, ChannelOptions options)
      : channel({loop, network, handshake, system_random()}, std::move(endpoint), std::move(policy),
                std::move(options)) {}

  io::AsioLoop loop;
  io::SocketNetwork network;
  Channel channel;
};

BlockingChannel::BlockingChannel(io::Endpoint endpoint,
                                 std::shared_ptr<const tls::ClientPolicy> policy,
                                 tls::Handshake* handshake, ChannelOptions options)
    : state_(std::make_unique<State>(std::move(endpoint), std::move(policy), handshake,
                                     std::move(options))) {}

BlockingChannel::~BlockingChannel() = default;

Result<Bytes> BlockingChannel::unary(std::string method, Bytes request, CallOptions options) {
  Result<Bytes> answer = internal("no answer");
  auto call = state_->channel.unary(std::move(method), std::move(request), std::move(options),
                                    [&](Result<Bytes> reply) {
                                      answer = std::move(reply);
                                      state_->loop.stop();
                                    });
  state_->loop.run();
  return answer;
}

Result<void> BlockingChannel::stream(std::string method, Bytes request, CallOptions options,
                                     std::function<bool(ByteView)> on_message) {
  Result<void> outcome;
  bool stopped = false;
  StreamReply reply;
  reply.on_message = [&](ByteView message) {
    if (!stopped && !on_message(message)) {
      stopped = true;
      state_->loop.stop();
    }
  };
  reply.on_done = [&](Result<void> status) {
    outcome = stopped ? Result<void>() : std::move(status);
    state_->loop.stop();
  };
  auto call = state_->channel.stream(std::move(method), std::move(options), std::move(reply));
  call->send(std::move(request));
  call->close_send();
  state_->loop.run();
  return outcome;
}

}  // namespace steeple::rpc
