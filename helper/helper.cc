// SPDX-License-Identifier: Apache-2.0

#include "helper/helper.h"

#include <fmt/format.h>

#include "lib/io/on_worker.h"

namespace steeple::helper {
namespace {

// A token lives on for as long as it has been used when the next one is asked for.
Duration refresh_after(const spiffe::JwtSvid& svid, WallTime now) {
  return std::max<Duration>((svid.expires_at - now) / 2, Duration(0)) + std::chrono::seconds(1);
}

}  // namespace

struct Helper::Token {
  Token(const JwtSvidConfig& which, io::Loop& loop, io::Workers& workers, RetryTimes times,
        Writer::OnResult on_result)
      : config(which),
        writer(loop, workers, times, std::move(on_result)),
        next(loop),
        backoff(times) {}

  const JwtSvidConfig& config;
  Writer writer;
  io::Timer next;
  Backoff backoff;
};

Helper::Helper(const HelperConfig& config, HelperDeps deps, HelperTimes times, Ended ended)
    : config_(config),
      deps_(std::move(deps)),
      times_(times),
      ended_(std::move(ended)),
      statuses_(config),
      notifier_(config, deps_.loop, deps_.workers, times.notifier, deps_.log) {}

Helper::~Helper() = default;

void Helper::hand_on(std::function<void()> task) {
  deps_.loop.post([task = std::move(task), alive = std::weak_ptr<const bool>(alive_)] {
    if (alive.lock()) {
      task();
    }
  });
}

Result<void> Helper::start() {
  TRY(serve_health());
  if (config_.x509_enabled()) {
    watch_x509();
  }
  if (!config_.jwt_bundle_file_name.empty()) {
    watch_jwt_bundles();
  }
  for (const JwtSvidConfig& jwt : config_.jwt_svids) {
    std::string path = config_.path_of(jwt.file_name);
    tokens_.push_back(std::make_unique<Token>(
        jwt, deps_.loop, deps_.workers, times_.retry, [this, path](const Result<void>& result) {
          jwt_written(path, result, "Unable to update JWT SVID", "JWT SVID updated");
        }));
    fetch(*tokens_.back());
  }
  return {};
}

Result<void> Helper::serve_health() {
  if (!config_.health.listener_enabled) {
    return {};
  }
  LOG_INFO(deps_.log, "Starting health server");
  health_ = std::make_unique<http::Server>(deps_.loop, http::ServerOptions{});
  auto page = [this](bool (Statuses::*good)() const) {
    return [this, good](const http::Request&, http::Respond respond) {
      bool is_good = (statuses_.*good)();
      respond({.status = is_good ? 200 : 503,
               .content_type = "application/json",
               .body = statuses_.page(is_good)});
    };
  };
  health_->route(config_.health.liveness_path, page(&Statuses::live));
  if (config_.health.readiness_path != config_.health.liveness_path) {
    health_->route(config_.health.readiness_path, page(&Statuses::ready));
  }
  return health_
      ->listen(deps_.network,
               io::Endpoint::tcp({}, static_cast<std::uint16_t>(config_.health.bind_port)))
      .during("Error serving health checks");
}

std::vector<io::Endpoint> Helper::health_endpoints() const {
  return health_ ? health_->endpoints() : std::vector<io::Endpoint>();
}

void Helper::watch_x509() {
  LOG_INFO(deps_.log, "Watching for X509 Context");
  x509_writer_ = std::make_unique<Writer>(
      deps_.loop, deps_.workers, times_.retry, [this](const Result<void>& result) {
        if (!result.ok()) {
          LOG_ERROR(deps_.log, "Unable to dump bundle", {"error", result.error()});
          statuses_.set_x509(WriteStatus::kFailed);
          return;
        }
        statuses_.set_x509(WriteStatus::kWritten);
        LOG_INFO(deps_.log, "X.509 certificates updated");
        notifier_.files_changed();
      });
  x509_watch_ = deps_.client->watch_x509_context(
      {.on_update =
           [this](std::shared_ptr<const spiffe::X509Context> context) {
             hand_on([this, context = std::move(context)] { on_x509(context); });
           },
       .on_error =
           [log = deps_.log](const Error& error) {
             LOG_ERROR(log, "Error while watching x509 context: " + error.message);
           }});
}

void Helper::on_x509(std::shared_ptr<const spiffe::X509Context> context) {
  for (const spiffe::X509Svid& svid : context->svids) {
    LOG_INFO(deps_.log, "Received update", {"spiffe_id", svid.id().text()});
  }
  LOG_DEBUG(deps_.log, "Updating X.509 certificates");
  x509_writer_->write([&config = config_, &clock = deps_.loop.clock(), context] {
    return x509_files(config, *context, clock.now());
  });
}

void Helper::watch_jwt_bundles() {
  LOG_INFO(deps_.log, "Watching for JWT Bundles");
  std::string path = config_.path_of(config_.jwt_bundle_file_name);
  jwt_bundle_writer_ = std::make_unique<Writer>(
      deps_.loop, deps_.workers, times_.retry, [this, path](const Result<void>& result) {
        jwt_written(path, result, "Error writing JWT Bundle to disk", "JWT bundle updated");
      });
  jwt_watch_ = deps_.client->watch_jwt_bundles(
      {.on_update =
           [this](std::shared_ptr<const spiffe::BundleSet> bundles) {
             hand_on([this, bundles = std::move(bundles)] {
               LOG_DEBUG(deps_.log, "Updating JWT bundle");
               jwt_bundle_writer_->write(
                   [&config = config_, bundles]() -> Result<std::vector<FileContent>> {
                     return jwt_bundle_files(config, *bundles);
                   });
             });
           },
       .on_error =
           [log = deps_.log](const Error& error) {
             LOG_ERROR(log, "Error while watching JWT bundles: " + error.message);
           }});
}

void Helper::jwt_written(const std::string& path, const Result<void>& result,
                         std::string_view failure, std::string_view success) {
  if (!result.ok()) {
    LOG_ERROR(deps_.log, fmt::format("{}: {}", failure, result.error().message));
    statuses_.set_jwt(path, WriteStatus::kFailed);
    return;
  }
  statuses_.set_jwt(path, WriteStatus::kWritten);
  LOG_INFO(deps_.log, success);
  // Where there are X.509 files, they alone tell the command, as in the reference; which never
  // starts one that has tokens only.
  if (!config_.x509_enabled() && statuses_.ready()) {
    notifier_.files_changed();
  }
}

void Helper::fetch(Token& token) {
  LOG_DEBUG(deps_.log, "Updating JWT SVID");
  auto work = [client = deps_.client, params = jwt_params(token.config),
               timeout = times_.fetch_timeout] { return client->fetch_jwt_svids(params, timeout); };
  io::on_worker(deps_.workers, deps_.loop, alive_, std::move(work),
                [this, &token](Result<std::vector<spiffe::JwtSvid>> svids) {
                  fetched(token, std::move(svids));
                });
}

void Helper::retry(Token& token) {
  token.next.start(token.backoff.next(), [this, &token] { fetch(token); });
}

void Helper::fetched(Token& token, Result<std::vector<spiffe::JwtSvid>> svids) {
  if (!svids.ok()) {
    LOG_ERROR(deps_.log, "Unable to fetch JWT SVID: " + svids.error().message);
    retry(token);
    return;
  }
  Result<spiffe::JwtSvid> svid = pick_jwt(*svids, config_.hint);
  if (!svid.ok()) {
    LOG_ERROR(deps_.log, "Unable to update JWT SVID: " + svid.error().message);
    statuses_.set_jwt(config_.path_of(token.config.file_name), WriteStatus::kFailed);
    retry(token);
    return;
  }
  token.backoff.reset();
  token.next.start(refresh_after(*svid, deps_.loop.clock().now()),
                   [this, &token] { fetch(token); });
  token.writer.write(
      [&config = config_, &jwt = token.config, svid = *svid]() -> Result<std::vector<FileContent>> {
        return jwt_svid_files(config, jwt, svid);
      });
}

void Helper::stop(int signal) {
  x509_watch_.reset();
  jwt_watch_.reset();
  tokens_.clear();
  notifier_.stop(signal, [this] {
    if (ended_) {
      auto ended = std::exchange(ended_, nullptr);
      ended({});
    }
  });
}

}  // namespace steeple::helper
