// SPDX-License-Identifier: Apache-2.0

// One call at the client: its request messages, its response as it comes in, its deadline, and the
// one retry when the peer provably did not process it. Shared by the channel (until it ends) and
// the user's handle. On the channel's loop.

#pragma once

#include <memory>
#include <string>

#include "lib/rpc/client.h"
#include "lib/rpc/h2_session.h"

namespace steeple::rpc {

class ClientConnection;

class OutgoingCall final : public H2Stream, public std::enable_shared_from_this<OutgoingCall> {
 public:
  OutgoingCall(ChannelCore& channel, std::string method, CallOptions options);

  // How it answers; one of the two, before it starts.
  void answer_unary(UnaryReply reply) { unary_ = std::move(reply); }
  void answer_stream(StreamReply reply);
  void start_deadline();

  // --- from the user's handle ---
  void send(Bytes message);
  void close_send();
  void cancel();

  // --- from the channel ---
  bool done() const { return done_; }
  // Ends it; the callback runs now. The stream, if any, is reset.
  void fail(Error error);

  // --- from the connection ---
  // Submits the request headers; false when the session takes no new streams.
  bool open_on(ClientConnection& connection);
  void headers_sent() { headers_sent_ = true; }
  bool header(std::string_view name, std::string_view value);
  void data(ByteView chunk);
  void response_ended();
  // The stream is gone. True when the call has to be sent again on another connection.
  bool stream_closed(std::uint32_t error_code);
  // The connection is gone. As above.
  bool connection_lost(const Error& why);

 private:
  struct Response {
    int http_status = 0;
    bool ended = false;
    std::string grpc_status;
    std::string grpc_message;
    std::string details;
    bool started = false;
    bool grpc_content = false;
  };

  void deliver(ByteView message);
  Result<void> outcome(std::uint32_t error_code) const;
  void complete(Result<void> status);
  void reset_stream();
  bool prepare_retry();

  ChannelCore* channel_;  // null once done
  io::Loop& loop_;
  const std::string method_;
  const CallOptions options_;
  const SteadyTime deadline_;
  io::Timer timer_;
  ClientConnection* connection_ = nullptr;
  UnaryReply unary_;
  std::shared_ptr<const std::function<void(ByteView)>> on_message_;
  std::move_only_function<void(Result<void>)> on_done_;
  Bytes received_;  // of a unary call
  bool has_received_ = false;
  MessageReader reader_;
  Response response_;
  std::size_t header_bytes_ = 0;
  int attempts_ = 0;
  bool headers_sent_ = false;
  bool done_ = false;
};

}  // namespace steeple::rpc
