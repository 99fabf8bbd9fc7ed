// SPDX-License-Identifier: Apache-2.0

#include "server/api/endpoint.h"

#include <utility>

#include "server/api/failure.h"

namespace steeple::server {

void Endpoint::when_admitted(const std::shared_ptr<rpc::ServerStream>& stream, RateLimiter* limiter,
                             std::size_t cost, const std::string& what, std::function<void()> go) {
  Caller& caller = caller_of(stream->context());
  if (limiter == nullptr || caller.local()) {
    go();
    return;
  }
  Result<Duration> wait = limiter->reserve(caller.host(), cost, stream->context().deadline);
  if (!wait.ok()) {
    stream->finish(fail(caller, wait.error().code, what, wait.error()));
    return;
  }
  if (*wait <= Duration(0)) {
    go();
    return;
  }
  loop_.start_timer(*wait, [weak = std::weak_ptr(stream), go = std::move(go)] {
    auto alive = weak.lock();
    if (alive && !alive->context().cancelled) {
      go();
    }
  });
}

namespace {

// One limited call: request, wait, work on a worker, answer on the loop.
struct LimitedCall {
  std::shared_ptr<rpc::ServerStream> stream;
  Bytes request;
};

}  // namespace

void Endpoint::limited_raw(std::string method, RateLimiter* limiter, std::string what,
                           RequestCost cost, RawHandler handler) {
  auto shared = std::make_shared<const RawHandler>(std::move(handler));
  auto price = std::make_shared<const RequestCost>(std::move(cost));
  server_.stream(std::move(method), [this, limiter, what = std::move(what), price,
                                     shared](const std::shared_ptr<rpc::ServerStream>& opened) {
    std::weak_ptr<rpc::ServerStream> weak = opened;
    opened->on_message([this, limiter, what, price, shared, weak](ByteView raw) {
      auto stream = weak.lock();
      if (!stream) {
        return;
      }
      Result<std::size_t> tokens = (*price)(stream->context(), raw);
      if (!tokens.ok()) {
        stream->finish(std::move(tokens.error()));
        return;
      }
      when_admitted(stream, limiter, *tokens, what, [this, shared, weak, request = Bytes(raw)] {
        auto admitted = weak.lock();
        if (!admitted) {
          return;
        }
        // The stream must die on the loop: the worker hands its reference back with the answer.
        auto call = std::make_unique<LimitedCall>(LimitedCall{admitted, request});
        Result<void> submitted = workers_.submit([this, shared, call = std::move(call)]() mutable {
          // Nobody waits for what was cancelled, and a renewal must not be carried out for nobody.
          Result<Bytes> reply = call->stream->context().cancelled
                                    ? cancelled("context canceled")
                                    : (*shared)(call->stream->context(), call->request);
          loop_.post([call = std::move(call), reply = std::move(reply)]() mutable {
            if (reply.ok()) {
              call->stream->send(std::move(*reply));
              call->stream->finish({});
            } else {
              call->stream->finish(std::move(reply.error()));
            }
          });
        });
        if (!submitted.ok()) {
          admitted->finish(std::move(submitted.error()));
        }
      });
    });
  });
}

}  // namespace steeple::server
