// SPDX-License-Identifier: Apache-2.0

// grpc.health.v1: Check and List answer at once, Watch tells the state and then its changes.

#include <grpc/health/v1/health.pb.h>

#include "lib/rpc/server.h"
#include "lib/rpc/typed.h"

namespace steeple::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using grpc::health::v1::HealthListRequest;
using grpc::health::v1::HealthListResponse;
using Serving = std::function<bool()>;
using WatchStream = TypedStream<HealthCheckRequest, HealthCheckResponse>;

// How late a watcher may learn of a change: readiness is a question, not an event.
constexpr auto kWatchInterval = std::chrono::seconds(1);

HealthCheckResponse state_of(const Serving& serving) {
  HealthCheckResponse response;
  response.set_status(serving() ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING);
  return response;
}

Result<void> refuse_names(const HealthCheckRequest& request) {
  if (!request.service().empty()) {
    return invalid_argument("per-service health is not supported");
  }
  return {};
}

// One watcher; held by its stream until that closes.
class Watcher : public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(WatchStream stream, Serving serving)
      : stream_(std::move(stream)), serving_(std::move(serving)), timer_(stream_.loop()) {}

  void begin() {
    stream_.on_closed([self = shared_from_this()] { self->timer_.cancel(); });
    tell();
  }

 private:
  void tell() {
    HealthCheckResponse now = state_of(serving_);
    if (told_ != now.status()) {
      told_ = now.status();
      stream_.send(now);
    }
    timer_.start(kWatchInterval, [this] { tell(); });
  }

  WatchStream stream_;
  const Serving serving_;
  io::Timer timer_;
  int told_ = -1;
};

}  // namespace

void Server::add_health(const std::function<bool()>& serving) {
  add_unary<HealthCheckRequest, HealthCheckResponse>(
      *this, "/grpc.health.v1.Health/Check", Where::kLoop,
      [serving](CallContext&, const HealthCheckRequest& request) -> Result<HealthCheckResponse> {
        TRY(refuse_names(request));
        return state_of(serving);
      });
  add_unary<HealthListRequest, HealthListResponse>(
      *this, "/grpc.health.v1.Health/List", Where::kLoop,
      [serving](CallContext&, const HealthListRequest&) -> Result<HealthListResponse> {
        HealthListResponse response;
        (*response.mutable_statuses())[""] = state_of(serving);
        return response;
      });
  add_server_stream<HealthCheckRequest, HealthCheckResponse>(
      *this, "/grpc.health.v1.Health/Watch",
      [serving](WatchStream stream, const HealthCheckRequest& request) {
        Result<void> allowed = refuse_names(request);
        if (!allowed.ok()) {
          stream.finish(std::move(allowed));
          return;
        }
        std::make_shared<Watcher>(std::move(stream), serving)->begin();
      });
  describe(HealthCheckRequest::descriptor()->file()->service(0));
}

}  // namespace steeple::rpc
