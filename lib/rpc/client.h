// SPDX-License-Identifier: Apache-2.0

// The gRPC client side over nghttp2: a Channel is one logical connection to one endpoint that
// reconnects with backoff when calls need it. All on one loop; callbacks run on it. BlockingChannel
// wraps a loop of its own for command-line tools.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/base/limits.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/rpc/call.h"

namespace steeple::tls {
class Handshake;
struct ClientPolicy;
}  // namespace steeple::tls

namespace steeple::rpc {

class ChannelCore;

struct CallOptions {
  Metadata metadata = {};
  Duration timeout = Duration::max();  // sent as grpc-timeout
  std::size_t message_bytes_max = limits::kMessageBytesMax;
};

// A call under way. Destroying it cancels (RST_STREAM CANCEL); no callback runs afterwards.
class ClientCall {
 public:
  virtual ~ClientCall() = default;
  virtual void send(Bytes message) = 0;  // streaming requests
  virtual void close_send() = 0;         // half-close
};

using UnaryReply = std::move_only_function<void(Result<Bytes>)>;
struct StreamReply {
  std::function<void(ByteView)> on_message;
  std::move_only_function<void(Result<void>)> on_done;  // exactly once, unless destroyed before
};

struct ChannelOptions {
  Duration connect_timeout = std::chrono::seconds(20);
  Duration backoff_first = std::chrono::milliseconds(100);
  Duration backoff_max = std::chrono::seconds(30);
  Duration keepalive_interval = Duration::max();
  Duration keepalive_timeout = std::chrono::seconds(20);
  std::string user_agent = {};
};

class Channel {
 public:
  struct Deps {
    io::Loop& loop;
    io::Network& network;
    tls::Handshake* tls;  // null for plaintext
    Random& random;
  };

  // `policy` null: plaintext (Unix sockets).
  Channel(Deps deps, io::Endpoint endpoint, std::shared_ptr<const tls::ClientPolicy> policy,
          ChannelOptions options = {});
  ~Channel();  // running calls end with kCancelled
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Errors of transport are kUnavailable; while in backoff a call fails at once with the last
  // connect error. A call that the peer provably did not process (refused stream, GOAWAY below its
  // id) is retried once on a new connection.
  [[nodiscard]] std::unique_ptr<ClientCall> unary(std::string method, Bytes request,
                                                  CallOptions options, UnaryReply reply);
  [[nodiscard]] std::unique_ptr<ClientCall> stream(std::string method, CallOptions options,
                                                   StreamReply reply);
  // Finish running calls on the present connection, make new ones on a new one: after an identity
  // rotated.
  void reconnect();
  // The chain and id the server proved in the present connection; null when not connected.
  std::shared_ptr<const io::Peer> peer() const;

 private:
  std::shared_ptr<ChannelCore> core_;
};

}  // namespace steeple::rpc
