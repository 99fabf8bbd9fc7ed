// SPDX-License-Identifier: Apache-2.0

#include "server/health.h"

#include <functional>
#include <utility>

namespace steeple::server {
namespace {

HealthState state_of(const std::string& detail, const Result<void>& result) {
  HealthState state;
  state.live = result.ok();
  state.ready = result.ok();
  state.live_details =
      HealthState::Details{{detail, result.ok() ? std::string() : result.error().message}};
  state.ready_details = state.live_details;
  return state;
}

// Runs `ask` on a worker; a full queue is no answer of the subsystem's, but it is not health.
HealthChecks::StartCheck on_worker(io::Loop& loop, io::Workers& workers, std::string detail,
                                   std::function<Result<void>()> ask) {
  return [&loop, &workers, detail = std::move(detail),
          ask = std::move(ask)](const HealthChecks::Done& done) {
    auto submitted = workers.submit([&loop, detail, ask, done] {
      loop.post([done, state = state_of(detail, ask())] { done(state); });
    });
    if (!submitted.ok()) {
      done(state_of(detail, std::move(submitted)));
    }
  };
}

}  // namespace

Result<void> add_health_checks(HealthChecks& checks, const HealthDeps& deps, bool slow) {
  TRY(checks.add("server", [&bundles = deps.bundles] {
    return state_of("get_bundle_err", bundles.own() != nullptr
                                          ? Result<void>()
                                          : unavailable("unable to fetch bundle: not found"));
  }));
  TRY(checks.add("server.ca.rotator", [&authorities = deps.authorities] {
    return state_of("rotation_err", authorities.health());
  }));
  if (slow) {
    TRY(checks.add_slow("server.ca", on_worker(deps.loop, deps.workers, "sign_x509_svid_err",
                                               [&ca = deps.ca] { return ca.check_health(); })));
    TRY(checks.add_slow("catalog.datastore",
                        on_worker(deps.loop, deps.workers, "list_bundle_err",
                                  [&datastore = deps.datastore]() -> Result<void> {
                                    TRY(datastore.list_bundles({}));
                                    return {};
                                  })));
  }
  return {};
}

}  // namespace steeple::server
