// SPDX-License-Identifier: Apache-2.0

// A gRPC client for programs that just want the answer: command-line tools and tests. Owns a loop
// and a network and runs them in the calling thread for as long as each call takes. Not for
// daemons.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/rpc/client.h"

namespace steeple::rpc {

class BlockingChannel {
 public:
  // `policy` null: plaintext. `handshake` null with a policy: the OpenSSL one cannot be assumed
  // here, so it is a bug.
  explicit BlockingChannel(io::Endpoint endpoint,
                           std::shared_ptr<const tls::ClientPolicy> policy = nullptr,
                           tls::Handshake* handshake = nullptr, ChannelOptions options = {});
  ~BlockingChannel();
  BlockingChannel(const BlockingChannel&) = delete;
  BlockingChannel& operator=(const BlockingChannel&) = delete;

  Result<Bytes> unary(std::string method, Bytes request, CallOptions options = {});
  // Server streaming: each message goes to `on_message`; false stops and cancels, which is success.
  Result<void> stream(std::string method, Bytes request, CallOptions options,
                      std::function<bool(ByteView)> on_message);

  // Typed forms. A reply that does not parse is kInternal.
  template <class Response, class Request>
  Result<Response> call(std::string method, const Request& request, CallOptions options = {}) {
    Bytes raw = TRY(unary(std::move(method), request.SerializeAsString(), std::move(options)));
    Response response;
    if (!response.ParseFromString(raw)) {
      return internal("grpc: failed to unmarshal the received message");
    }
    return response;
  }
  template <class Response, class Request>
  Result<void> stream_of(std::string method, const Request& request, CallOptions options,
                         std::function<bool(const Response&)> on_message) {
    Result<void> parsed;
    Result<void> done = stream(
        std::move(method), request.SerializeAsString(), std::move(options), [&](ByteView raw) {
          Response response;
          if (!response.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
            parsed = internal("grpc: failed to unmarshal the received message");
            return false;
          }
          return on_message(response);
        });
    return parsed.ok() ? std::move(done) : std::move(parsed);
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace steeple::rpc
