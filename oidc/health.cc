// SPDX-License-Identifier: Apache-2.0

#include "oidc/health.h"

#include "oidc/documents.h"

namespace steeple::oidc {

Duration freshness_threshold(Duration poll_interval) {
  constexpr int kPolls = 5;
  constexpr Duration kLeast = std::chrono::minutes(3);
  return poll_interval < kLeast / kPolls ? kLeast : poll_interval;
}

Health::Health(const ProviderConfig& config, const JwksSource& source, const Clock& clock,
               std::function<bool()> can_serve)
    : source_(source),
      clock_(clock),
      can_serve_(std::move(can_serve)),
      threshold_(freshness_threshold(config.poll_interval())),
      begun_(clock.steady()) {}

bool Health::fresh() const {
  std::optional<SteadyTime> last = source_.last_success();
  return last && clock_.steady() - *last < threshold_;
}

bool Health::ready() const { return fresh() && can_serve_(); }

bool Health::live() const {
  return source_.last_success() ? fresh() : clock_.steady() - begun_ < threshold_;
}

void Health::add_to(http::Server& server, const HealthConfig& config) const {
  auto page = [this](bool (Health::*good)() const) {
    return [this, good](const http::Request& request, http::Respond respond) {
      if (request.method != "GET") {
        respond(error_page(405, "method not allowed"));
      } else {
        respond({.status = (this->*good)() ? 200 : 500});
      }
    };
  };
  server.route(config.ready_path, page(&Health::ready));
  server.route(config.live_path, page(&Health::live));
}

}  // namespace steeple::oidc
