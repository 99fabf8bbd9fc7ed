// SPDX-License-Identifier: Apache-2.0

// How a service hangs its functions onto an RPC server: the caller that authorization found comes
// in typed, the audit line goes out, limited methods wait for their turn without holding a worker.
// Registration happens before the first connection; handlers run on workers, timers on the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/rpc/server.h"
#include "server/authz/caller.h"
#include "server/authz/rate_limiter.h"

namespace steeple::server {

inline Caller& caller_of(rpc::CallContext& call) {
  return *static_cast<Caller*>(call.caller.get());
}

// A handler of one request on a worker: bytes in, bytes out.
using RawHandler = std::function<Result<Bytes>(rpc::CallContext&, ByteView)>;
// How many tokens a request costs. Errors end the call.
using RequestCost = std::function<Result<std::size_t>(rpc::CallContext&, ByteView)>;

class Endpoint {
 public:
  Endpoint(rpc::Server& server, io::Loop& loop, io::Workers& workers)
      : server_(server), loop_(loop), workers_(workers) {}

  rpc::Server& server() { return server_; }
  io::Loop& loop() { return loop_; }
  io::Workers& workers() { return workers_; }

  // function: Result<Response>(Caller&, const Request&)
  template <class Request, class Response, class Function>
  void unary(std::string method, Function function) {
    server_.unary(std::move(method), rpc::Where::kWorker,
                  typed<Request, Response>(std::move(function)));
  }

  // As unary, after `limiter` (null: no limit) has let the request through. `what` is put before
  // the limiter's error: "rejecting request due to ... rate limiting".
  template <class Request, class Response, class Function>
  void limited(std::string method, RateLimiter* limiter, std::string what,
               std::function<Result<std::size_t>(Caller&, const Request&)> cost,
               Function function) {
    if (limiter == nullptr) {
      unary<Request, Response>(std::move(method), std::move(function));
      return;
    }
    limited_raw(
        std::move(method), limiter, std::move(what),
        [cost = std::move(cost)](rpc::CallContext& call, ByteView raw) -> Result<std::size_t> {
          return cost(caller_of(call), TRY(parse<Request>(raw)));
        },
        typed<Request, Response>(std::move(function)));
  }

  // Waits on the loop for its turn, then calls `go` on the loop; on refusal finishes the stream.
  void when_admitted(const std::shared_ptr<rpc::ServerStream>& stream, RateLimiter* limiter,
                     std::size_t cost, const std::string& what, std::function<void()> go);

 private:
  template <class Request>
  static Result<Request> parse(ByteView raw) {
    Request request;
    if (!request.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
      return internal("grpc: error unmarshalling request");
    }
    return request;
  }

  template <class Request, class Response, class Function>
  static RawHandler typed(Function function) {
    return [function = std::move(function)](rpc::CallContext& call, ByteView raw) -> Result<Bytes> {
      Caller& caller = caller_of(call);
      Result<Request> request = parse<Request>(raw);
      Result<Response> response =
          request.ok() ? function(caller, *request) : Result<Response>(request.error());
      if (caller.audit.enabled()) {
        caller.audit.finish(caller.log(),
                            response.ok() ? Result<void>() : Result<void>(response.error()));
      }
      return TRY(std::move(response)).SerializeAsString();
    };
  }

  void limited_raw(std::string method, RateLimiter* limiter, std::string what, RequestCost cost,
                   RawHandler handler);

  rpc::Server& server_;
  io::Loop& loop_;
  io::Workers& workers_;
};

}  // namespace steeple::server
