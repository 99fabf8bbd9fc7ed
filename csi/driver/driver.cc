// SPDX-License-Identifier: Apache-2.0

#include "csi/driver/driver.h"

#include "lib/io/on_worker.h"

namespace steeple::csi {
namespace {

// Only the kubelet's account and root talk to us.
constexpr mode_t kSocketMode = 0700;
constexpr auto kVolumesLeftInterval = std::chrono::milliseconds(200);
constexpr auto kStopGrace = std::chrono::seconds(5);
// A directory that is deleted and at once made anew is seen again in the next round, where a path
// leads to it; in a container none does, and only a new container gets the new directory.
constexpr int kRoundsDeletedMax = 2;
constexpr const char* kHealthPath = "/healthz";

}  // namespace

struct Driver::Core {
  Core(const DriverOptions& options, const Deps& deps)
      : volumes(deps.mounts, deps.log,
                {.source = options.workload_api_socket_dir, .driver = options.plugin_name}),
        service(volumes, deps.log,
                {.node_id = options.node_id, .plugin_name = options.plugin_name}) {}

  Volumes volumes;
  NodeService service;
};

Result<void> check_options(const DriverOptions& options) {
  if (options.node_id.empty()) {
    return invalid_argument("node ID is required");
  }
  if (options.workload_api_socket_dir.empty()) {
    return invalid_argument("workload API socket directory is required");
  }
  if (options.csi_socket_path.empty()) {
    return invalid_argument("CSI socket path is required");
  }
  if (options.kubelet_registration_path.empty() != options.plugin_registration_socket.empty()) {
    return invalid_argument(
        "-kubelet-registration-path and -plugin-registration-socket belong together");
  }
  if (options.health_port < 0 || options.health_port > 65535) {
    return invalid_argument("-health-port is not a port");
  }
  if (options.shutdown_delay < Duration::zero()) {
    return invalid_argument("-shutdown-delay is negative");
  }
  return {};
}

Driver::Driver(DriverOptions options, Deps deps, Ended ended)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      ended_(std::move(ended)),
      core_(std::make_shared<Core>(options_, deps_)),
      mend_timer_(deps_.loop) {}

Driver::~Driver() = default;

bool Driver::healthy() const { return looked_ && found_.source_ok() && !refused_; }

Result<std::unique_ptr<io::Listener>> Driver::listen(rpc::Server& server, const std::string& path) {
  // The kubelet lives in the host's pid namespace, so that its pid means nothing to us.
  io::ListenOptions how{.socket_mode = kSocketMode, .foreign_processes = true};
  return deps_.network.listen(deps_.loop, io::Endpoint::unix_socket(path), how,
                              [&server](std::unique_ptr<io::Connection> connection) {
                                server.serve(std::move(connection));
                              });
}

Result<void> Driver::start_health() {
  if (options_.health_port == 0) {
    return {};
  }
  health_ = std::make_unique<http::Server>(deps_.loop, http::ServerOptions{});
  health_->route(kHealthPath, [this](const http::Request&, http::Respond respond) {
    bool good = healthy();
    respond({.status = good ? 200 : 503,
             .content_type = "text/plain; charset=utf-8",
             .body = good ? "ok\n" : "not ok\n"});
  });
  return health_->listen(deps_.network,
                         io::Endpoint::tcp({}, static_cast<std::uint16_t>(options_.health_port)));
}

Result<void> Driver::start() {
  TRY(check_options(options_));
  rpc::Server::Deps rpc_deps{.loop = deps_.loop, .workers = deps_.workers, .random = deps_.random};
  rpc::ServerHooks hooks;
  hooks.observe = [log = deps_.log](const rpc::CallContext& call, Code code, Duration) {
    if (code == Code::kOk) {
      LOG_DEBUG(log, "RPC succeeded", {"fullMethod", call.method});
    } else {
      LOG_ERROR(log, "RPC failed", {"fullMethod", call.method}, {"code", code_name(code)});
    }
  };
  csi_ = std::make_unique<rpc::Server>(rpc_deps, rpc::ServerOptions{}, hooks);
  serve_csi(*csi_, core_->service, [this] { return !looked_ || found_.source_ok(); });
  csi_listener_ =
      TRY(listen(*csi_, options_.csi_socket_path).during("unable to create CSI socket listener"));
  if (!options_.plugin_registration_socket.empty()) {
    registration_ = std::make_unique<rpc::Server>(rpc_deps, rpc::ServerOptions{}, hooks);
    serve_registration(
        *registration_,
        {.plugin_name = options_.plugin_name, .endpoint = options_.kubelet_registration_path},
        [this](Result<void> status) { on_registration(std::move(status)); });
    registration_listener_ = TRY(listen(*registration_, options_.plugin_registration_socket)
                                     .during("unable to create registration socket listener"));
  }
  TRY(start_health().during("unable to serve health checks"));
  LOG_INFO(deps_.log, "Listening...");
  mend();
  return {};
}

void Driver::on_registration(Result<void> status) {
  refused_ = !status.ok();
  if (refused_) {
    // It will ask again, at growing intervals.
    LOG_ERROR(deps_.log, "The kubelet refused to register the driver", {"error", status.error()});
  } else {
    LOG_INFO(deps_.log, "Registered with the kubelet");
  }
}

void Driver::source_changed() {
  if (mending_) {
    mend_again_ = true;
  } else {
    mend();
  }
}

void Driver::mend_later() {
  mend_timer_.start(kMendInterval, [this] { mend(); });
}

void Driver::mend() {
  if (stopping_) {
    return;
  }
  mending_ = true;
  mend_timer_.cancel();
  io::on_worker(
      deps_.workers, deps_.loop, core_, [core = core_] { return core->volumes.mend(); },
      [this](Result<Volumes::Health> found) { on_mended(std::move(found)); });
}

void Driver::on_mended(Result<Volumes::Health> found) {
  mending_ = false;
  if (stopping_) {
    return;
  }
  if (!found.ok()) {
    LOG_ERROR(deps_.log, "Failed to look after the volumes", {"error", found.error()});
    mend_later();
    return;
  }
  if (found->source_missing && !found_.source_missing) {
    LOG_WARN(deps_.log, "The Workload API socket directory is missing",
             {"workloadAPISocketDir", options_.workload_api_socket_dir});
  } else if (found->source_deleted && !found_.source_deleted) {
    LOG_WARN(deps_.log, "The Workload API socket directory has been deleted",
             {"workloadAPISocketDir", options_.workload_api_socket_dir});
  } else if (found->source_ok() && looked_ && !found_.source_ok()) {
    LOG_INFO(deps_.log, "The Workload API socket directory is there again",
             {"workloadAPISocketDir", options_.workload_api_socket_dir});
  }
  found_ = *found;
  looked_ = true;
  source_was_alive_ = source_was_alive_ || found->source_ok();
  rounds_deleted_ = found->source_deleted ? rounds_deleted_ + 1 : 0;
  if (source_was_alive_ && rounds_deleted_ > kRoundsDeletedMax) {
    // Only where it lived before: a start that changes nothing must not be tried for ever.
    end(unavailable(
        "the Workload API socket directory has been deleted; a new start finds the new one"));
    return;
  }
  if (std::exchange(mend_again_, false)) {
    mend();
  } else {
    mend_later();
  }
}

void Driver::end(Result<void> why) {
  stopping_ = true;
  mend_timer_.cancel();
  if (ended_) {
    auto ended = std::exchange(ended_, nullptr);
    ended(std::move(why));
  }
}

void Driver::stop() {
  if (std::exchange(stopping_, true)) {
    return;
  }
  mend_timer_.cancel();
  stop_by_ = deps_.loop.clock().steady() + options_.shutdown_delay;
  if (options_.shutdown_delay > Duration::zero()) {
    wait_for_volumes();
  } else {
    close();
  }
}

void Driver::wait_for_volumes() {
  io::on_worker(
      deps_.workers, deps_.loop, core_, [core = core_] { return core->volumes.mend(); },
      [this](Result<Volumes::Health> found) {
        bool left = found.ok() && found->volumes > 0;
        if (!left || deps_.loop.clock().steady() >= stop_by_) {
          close();
        } else {
          mend_timer_.start(kVolumesLeftInterval, [this] { wait_for_volumes(); });
        }
      });
}

void Driver::close() {
  // The registration first: from then on the kubelet sends nothing new.
  registration_listener_.reset();
  registration_.reset();
  health_.reset();
  csi_listener_.reset();
  if (!csi_) {
    end({});
    return;
  }
  csi_->shutdown(kStopGrace, [this] { end({}); });
}

}  // namespace steeple::csi
