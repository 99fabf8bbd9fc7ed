// SPDX-License-Identifier: Apache-2.0

// Streams and client calls with protobuf messages instead of bytes. A message that does not parse
// ends the call with kInternal, as in grpc-go. Header only; the thread rules are those of the
// untyped forms.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lib/rpc/client.h"
#include "lib/rpc/server.h"

namespace steeple::rpc {

// A ServerStream by value; copies are the same stream.
template <class Request, class Response>
class TypedStream {
 public:
  explicit TypedStream(std::shared_ptr<ServerStream> raw) : raw_(std::move(raw)) {}

  CallContext& context() const { return raw_->context(); }
  io::Loop& loop() const { return raw_->loop(); }
  const std::shared_ptr<ServerStream>& raw() const { return raw_; }

  void on_message(std::function<void(const Request&)> handler) const {
    raw_->on_message([raw = raw_.get(), handler = std::move(handler)](ByteView bytes) {
      Request request;
      if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        raw->finish(internal("grpc: error unmarshalling request"));
        return;
      }
      handler(request);
    });
  }
  void on_half_close(std::function<void()> handler) const {
    raw_->on_half_close(std::move(handler));
  }
  void on_closed(std::function<void()> handler) const { raw_->on_closed(std::move(handler)); }
  void pause(bool paused) const { raw_->pause(paused); }
  void send(const Response& response) const { raw_->send(response.SerializeAsString()); }
  std::size_t buffered_bytes() const { return raw_->buffered_bytes(); }
  void finish(Result<void> status) const { raw_->finish(std::move(status)); }

 private:
  std::shared_ptr<ServerStream> raw_;
};

// Bidirectional or client streaming: f(TypedStream<Request, Response>), at the call's headers.
template <class Request, class Response, class Function>
void add_stream(Server& server, std::string method, Function function) {
  server.stream(std::move(method),
                [function = std::move(function)](std::shared_ptr<ServerStream> raw) {
                  function(TypedStream<Request, Response>(std::move(raw)));
                });
}

// Server streaming: f(TypedStream<Request, Response>, const Request&), once, with the request.
template <class Request, class Response, class Function>
void add_server_stream(Server& server, std::string method, Function function) {
  server.stream(std::move(method),
                [function = std::move(function)](const std::shared_ptr<ServerStream>& opened) {
                  auto begun = std::make_shared<bool>(false);
                  std::weak_ptr<ServerStream> weak = opened;
                  TypedStream<Request, Response>(opened).on_message([function, begun,
                                                                     weak](const Request& request) {
                    auto raw = weak.lock();
                    if (raw && std::exchange(*begun, true)) {
                      raw->finish(
                          internal("cardinality violation: received multiple request messages for "
                                   "non-client-streaming RPC"));
                    } else if (raw) {
                      function(TypedStream<Request, Response>(std::move(raw)), request);
                    }
                  });
                  opened->on_half_close([begun, weak] {
                    auto raw = weak.lock();
                    if (raw && !*begun) {
                      raw->finish(
                          internal("cardinality violation: received no request message from "
                                   "non-client-streaming RPC"));
                    }
                  });
                });
}

// --- client ---

template <class Response>
Result<Response> parse_response(ByteView raw) {
  Response response;
  if (!response.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
    return internal("grpc: failed to unmarshal the received message");
  }
  return response;
}

// reply: void(Result<Response>).
template <class Response, class Request, class Reply>
[[nodiscard]] std::unique_ptr<ClientCall> unary_call(Channel& channel, std::string method,
                                                     const Request& request, CallOptions options,
                                                     Reply reply) {
  return channel.unary(std::move(method), request.SerializeAsString(), std::move(options),
                       [reply = std::move(reply)](Result<Bytes> raw) mutable {
                         if (!raw.ok()) {
                           reply(Result<Response>(std::move(raw.error())));
                         } else {
                           reply(parse_response<Response>(*raw));
                         }
                       });
}

// on_message: void(Result<Response>), on_done: void(Result<void>). A message that does not parse is
// handed on as its error, and the call goes on. For server streaming, send the request and
// close_send on the returned call.
template <class Response, class OnMessage, class OnDone>
[[nodiscard]] std::unique_ptr<ClientCall> stream_call(Channel& channel, std::string method,
                                                      CallOptions options, OnMessage on_message,
                                                      OnDone on_done) {
  StreamReply reply;
  reply.on_message = [on_message = std::move(on_message)](ByteView raw) {
    on_message(parse_response<Response>(raw));
  };
  reply.on_done = std::move(on_done);
  return channel.stream(std::move(method), std::move(options), std::move(reply));
}

}  // namespace steeple::rpc
