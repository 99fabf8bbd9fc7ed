// SPDX-License-Identifier: Apache-2.0

#include "helper/once.h"

#include <fmt/format.h>

#include "lib/io/on_worker.h"

namespace steeple::helper {
namespace {

constexpr int kTries = 10;
constexpr int kWaitFactor = 5;

}  // namespace

Once::Once(const HelperConfig& config, HelperDeps deps, HelperTimes times, Helper::Ended ended)
    : config_(config),
      deps_(std::move(deps)),
      times_(times),
      ended_(std::move(ended)),
      wait_(deps_.loop) {
  if (config.x509_enabled()) {
    add_x509();
  }
  if (!config.jwt_bundle_file_name.empty()) {
    add_jwt_bundle();
  }
  add_jwt_svids();
}

void Once::add_x509() {
  steps_.push_back(
      {.doing = "Fetching x509 certificates",
       .done = "Successfully fetched x509 certificates",
       .failed = "Error fetching x509 certificates",
       .fetch = [&config = config_, client = deps_.client, timeout = times_.fetch_timeout,
                 &clock = deps_.loop.clock()]() -> Result<std::vector<FileContent>> {
         spiffe::X509Context context = TRY(client->fetch_x509_context(timeout));
         return x509_files(config, context, clock.now());
       }});
}

void Once::add_jwt_bundle() {
  steps_.push_back(
      {.doing = "Fetching JWT Bundle",
       .done = "Successfully fetched JWT bundle",
       .failed = "Error fetching JWT bundle",
       .fetch = [&config = config_, client = deps_.client,
                 timeout = times_.fetch_timeout]() -> Result<std::vector<FileContent>> {
         return jwt_bundle_files(config, TRY(client->fetch_jwt_bundles(timeout)));
       }});
}

void Once::add_jwt_svids() {
  for (const JwtSvidConfig& jwt : config_.jwt_svids) {
    bool last = &jwt == &config_.jwt_svids.back();
    steps_.push_back(
        {.doing = "Fetching JWT SVIDs",
         .done = last ? "Successfully fetched JWT SVIDs" : "",
         .failed = "Error fetching JWT SVIDs",
         .prefix = fmt::format("unable to fetch JWT SVID for audience \"{}\"", jwt.audience),
         .fetch = [&config = config_, &jwt, client = deps_.client,
                   timeout = times_.fetch_timeout]() -> Result<std::vector<FileContent>> {
           auto svids = TRY(client->fetch_jwt_svids(jwt_params(jwt), timeout));
           return jwt_svid_files(config, jwt, TRY(pick_jwt(svids, config.hint)));
         },
         .go_on = !last});
  }
}

void Once::start() {
  LOG_DEBUG(deps_.log, steps_[at_].doing);
  run(kTries, times_.not_yet_first);
}

void Once::run(int tries_left, Duration wait) {
  auto work = [fetch = steps_[at_].fetch]() -> Result<Outcome> {
    Result<std::vector<FileContent>> files = fetch();
    if (!files.ok()) {
      bool not_yet = files.error().code == Code::kPermissionDenied;
      return Outcome{std::move(files.error()), not_yet};
    }
    return Outcome{write_files(*files), false};
  };
  io::on_worker(deps_.workers, deps_.loop, alive_, std::move(work),
                [this, tries_left, wait](Result<Outcome> outcome) {
                  finished(outcome.ok() ? std::move(*outcome) : Outcome{std::move(outcome.error())},
                           tries_left, wait);
                });
}

void Once::finished(Outcome outcome, int tries_left, Duration wait) {
  const Step& step = steps_[at_];
  if (outcome.not_yet && tries_left > 1) {
    LOG_DEBUG(deps_.log, "No identity yet", {"error", outcome.result.error()});
    wait_.start(wait, [this, tries_left, wait] { run(tries_left - 1, wait * kWaitFactor); });
    return;
  }
  if (!outcome.result.ok()) {
    Result<void> result = std::move(outcome.result);
    if (!step.prefix.empty()) {
      result = std::move(result).during(step.prefix);
    }
    errors_ += (errors_.empty() ? "" : "\n") + result.error().message;
  }
  if (!step.go_on && !errors_.empty()) {
    LOG_ERROR(deps_.log, step.failed, {"error", errors_});
    ended_(Error{Code::kUnknown, errors_});
    return;
  }
  if (!step.done.empty()) {
    LOG_INFO(deps_.log, step.done);
  }
  next();
}

void Once::next() {
  if (++at_ == steps_.size()) {
    ended_({});
  } else {
    start();
  }
}

}  // namespace steeple::helper
