// SPDX-License-Identifier: Apache-2.0

// One call at the server, unary or streaming: collects the request headers, cuts the body into
// messages, runs the handler, and writes messages and trailers. On the server's loop; a unary
// handler may run on a worker, which holds only the context and the request.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lib/rpc/h2_session.h"
#include "lib/rpc/server_core.h"

namespace steeple::rpc {

class ServerConnection;

class ServerCall final : public ServerStream,
                         public H2Stream,
                         public std::enable_shared_from_this<ServerCall> {
 public:
  ServerCall(ServerConnection& connection, std::int32_t stream_id);

  // --- from the connection ---
  // False: the headers are too large.
  bool header(std::string_view name, std::string_view value);
  void headers_done(bool end_of_request);
  void data(ByteView chunk);
  void request_ended();
  void trailers_sent();
  void submit_trailers();
  // The stream is gone, or the whole connection. The last call from it.
  void closed(std::uint32_t error_code);

  // --- ServerStream ---
  CallContext& context() override { return *context_; }
  io::Loop& loop() override { return loop_; }
  void on_message(std::function<void(ByteView)> handler) override;
  void on_half_close(std::function<void()> handler) override;
  void on_closed(std::function<void()> handler) override;
  void pause(bool paused) override;
  void send(Bytes message) override;
  std::size_t buffered_bytes() const override { return queue.bytes(); }
  void finish(Result<void> status) override;

 private:
  bool refuse_malformed();
  void abort_early(int http_status, Error error);
  void start_deadline();
  void start_stream();
  void deliver(ByteView message);
  void settle_input(Result<void> fed);
  void deliver_half_close();
  void run_unary();
  void run_on_worker();
  void reply(Result<Bytes> result);
  void submit_headers();
  void submit_trailers_only(int http_status, const Result<void>& status);
  void reset_if_request_open();

  ServerConnection* connection_;  // null once closed
  io::Loop& loop_;
  const std::shared_ptr<CallContext> context_;
  const std::shared_ptr<const Registry> registry_;
  const Method* method_ = nullptr;
  MessageReader reader_;
  io::Timer deadline_;
  SteadyTime began_;
  std::shared_ptr<const std::function<void(ByteView)>> on_message_;
  std::function<void()> on_half_close_;
  std::function<void()> on_closed_;
  Result<void> status_;
  std::optional<Bytes> request_;  // of a unary call
  std::size_t header_bytes_ = 0;
  std::size_t unconsumed_ = 0;  // window withheld while paused
  std::size_t accounted_ = 0;   // of the connection's input limit

  // Facts of the headers that decide at their end.
  std::string content_type_;
  std::string encoding_;
  std::string timeout_;
  std::uint8_t authorities_ = 0;
  std::uint8_t hosts_ = 0;
  bool is_post_ = false;
  bool malformed_ = false;

  bool request_ended_ = false;
  bool half_close_told_ = false;
  bool headers_sent_ = false;
  bool finished_ = false;
};

}  // namespace steeple::rpc
