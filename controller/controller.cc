// SPDX-License-Identifier: Apache-2.0

#include "controller/controller.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "controller/metrics_page.h"

namespace steeple::controller {

namespace {

constexpr auto kPlanInterval = std::chrono::milliseconds(100);

http::Response text_page(std::string body, std::string type = "text/plain; charset=utf-8") {
  return {.status = 200, .content_type = std::move(type), .body = std::move(body)};
}

}  // namespace

Result<std::optional<io::Endpoint>> parse_bind_address(const std::string& text) {
  if (text.empty() || text == "0") {
    return std::optional<io::Endpoint>();
  }
  std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  std::string host = text.substr(0, colon == std::string::npos ? 0 : colon);
  std::string_view digits =
      std::string_view(text).substr(colon == std::string::npos ? 0 : colon + 1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (colon == std::string::npos || error != std::errc() || end != digits.data() + digits.size()) {
    return invalid_argument(fmt::format("address \"{}\" is not host:port", text));
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  return std::optional(io::Endpoint::tcp(std::move(host), port));
}

Controller::Controller(ControllerConfig config, Deps deps, Options options, Hooks hooks)
    : config_(std::move(config)),
      deps_(std::move(deps)),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      channel_({deps_.loop, deps_.network, nullptr, deps_.random},
               io::Endpoint::unix_socket(config_.server_socket), nullptr,
               {.backoff_max = std::chrono::seconds(5)}),
      spire_(channel_, {.message_bytes_max = config_.grpc_message_bytes_max}),
      timer_(deps_.loop) {}

Controller::~Controller() = default;

void Controller::start() {
  if (Result<void> opened = open(); !opened.ok()) {
    deps_.loop.post([this, error = opened.error()] { end(error); });
  }
}

Result<void> Controller::open() {
  if (deps_.client != nullptr && !options_.dry_run) {
    events_ = std::make_unique<kube::EventRecorder>(
        kube::EventRecorder::Deps{*deps_.client, deps_.random},
        kube::EventOptions{.component = "spire-controller-manager", .instance = options_.host_name},
        [this](const Error& error) {
          LOG_WARN(deps_.log, "Failed to record an event", {"error", error});
        });
  }
  if (!options_.dry_run) {
    TRY(open_pages());
    TRY(open_webhook());
  }
  if (options_.dry_run) {
    lead();
    timer_.start(kPlanInterval, [this] { look_at_plan(); });
  } else if (config_.leader_election.enabled && deps_.client != nullptr) {
    elect();
  } else {
    lead();
  }
  return {};
}

Result<void> Controller::open_pages() {
  std::optional<io::Endpoint> health = TRY(parse_bind_address(config_.health_address));
  if (health) {
    health_ = std::make_unique<http::Server>(deps_.loop, http::ServerOptions{});
    auto ok = [](const http::Request&, http::Respond respond) { respond(text_page("ok")); };
    for (const std::string& path : {config_.liveness_path, config_.readiness_path}) {
      health_->route(path, ok);
    }
    TRY(health_->listen(deps_.network, *health).during("listen for health probes"));
  }
  std::optional<io::Endpoint> metrics = TRY(parse_bind_address(config_.metrics_address));
  if (metrics) {
    metrics_ = std::make_unique<http::Server>(deps_.loop, http::ServerOptions{});
    metrics_->route("/metrics", [this](const http::Request&, http::Respond respond) {
      respond(text_page(this->metrics(), "text/plain; version=0.0.4; charset=utf-8"));
    });
    TRY(metrics_->listen(deps_.network, *metrics).during("listen for metrics"));
  }
  return {};
}

Result<void> Controller::open_webhook() {
  if (!options_.webhook || deps_.client == nullptr) {
    return {};
  }
  spiffe::TrustDomain domain = TRY(spiffe::TrustDomain::parse(config_.trust_domain));
  webhook_ = std::make_unique<Webhook>(
      Webhook::Deps{deps_.loop, deps_.network, deps_.handshake, *deps_.client, spire_, deps_.random,
                    deps_.log.subsystem("webhook")},
      Webhook::Options{
          .trust_domain = std::move(domain),
          .configuration = config_.webhook_configuration,
          .listen = io::Endpoint::tcp(config_.webhook_host,
                                      static_cast<std::uint16_t>(config_.webhook_port))});
  return webhook_->start();
}

void Controller::elect() {
  const LeaderElectionConfig& config = config_.leader_election;
  election_ = std::make_unique<kube::LeaderElection>(
      kube::LeaderElection::Deps{*deps_.client, deps_.random},
      kube::LeaderElectionOptions{
          .name_space = config.name_space.empty() ? options_.pod_namespace : config.name_space,
          .name = config.name,
          .identity = fmt::format("{}_{}", options_.host_name, deps_.random.uuid()),
          .lease_duration = config.lease_duration,
          .renew_deadline = config.renew_deadline,
          .retry_period = config.retry_period},
      kube::LeaderElectionHandlers{
          .on_leading = [this] { lead(); },
          .on_lost = [this] { stop_leading(); },
          .on_leader =
              [this](const std::string& identity) {
                LOG_INFO(deps_.log, "Leader elected", {"leader", identity});
              },
          .on_trouble =
              [this](const Error& error) {
                LOG_WARN(deps_.log, "Leader election has trouble", {"error", error});
              }});
  election_->start();
}

void Controller::lead() {
  LOG_INFO(deps_.log, "Starting reconciliation");
  auto made =
      Reconciler::create(config_,
                         {.loop = deps_.loop,
                          .workers = deps_.workers,
                          .client = deps_.client,
                          .events = events_.get(),
                          .spire = spire_,
                          .random = deps_.random,
                          .log = deps_.log,
                          .counters = counters_,
                          .environment = deps_.environment},
                         {.dry_run = options_.dry_run,
                          .self = {.api_version = "v1",
                                   .kind = "Pod",
                                   .name_space = options_.pod_namespace,
                                   .name = options_.pod_name}},
                         {.ready = [this] {
                           LOG_INFO(deps_.log, "Everything is known; reconciling",
                                    {"pods", reconciler_->engine().desired().pods()},
                                    {"entries", reconciler_->engine().sync().actual().total()});
                           if (hooks_.ready) {
                             hooks_.ready();
                           }
                         }});
  if (!made.ok()) {
    deps_.loop.post([this, error = made.error()] { end(error); });
    return;
  }
  reconciler_ = std::move(*made);
  reconciler_->start();
}

void Controller::stop_leading() {
  LOG_INFO(deps_.log, "Stopping reconciliation");
  reconciler_.reset();
}

void Controller::look_at_plan() {
  if (auto plan = reconciler_ ? reconciler_->plan() : std::nullopt) {
    if (hooks_.planned) {
      hooks_.planned(*plan);
    }
    end({});
    return;
  }
  timer_.start(kPlanInterval, [this] { look_at_plan(); });
}

void Controller::stop() {
  if (std::exchange(stopping_, true)) {
    return;
  }
  if (election_) {
    election_->stop([this] { end({}); });
  } else {
    deps_.loop.post([this] { end({}); });
  }
}

void Controller::end(Result<void> how) {
  if (std::exchange(ended_, true)) {
    return;
  }
  timer_.cancel();
  reconciler_.reset();
  if (hooks_.ended) {
    hooks_.ended(std::move(how));
  }
}

std::string Controller::metrics() const {
  MetricsView view{.counters = counters_,
                   .leader_election_name = election_ ? config_.leader_election.name : "",
                   .leading = reconciler_ != nullptr};
  if (reconciler_) {
    const Engine& engine = reconciler_->engine();
    view.pods = engine.desired().pods();
    view.declared_entries = engine.desired().declared();
    view.server_entries = engine.sync().actual().total();
    view.pods_waiting = engine.desired().marked();
  }
  return metrics_page(view);
}

}  // namespace steeple::controller
