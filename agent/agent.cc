// SPDX-License-Identifier: Apache-2.0

#include "agent/agent.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "agent/api/admin_api.h"
#include "agent/api/workload_api.h"
#include "agent/cache/jwt_cache.h"
#include "agent/cache/x509_cache.h"
#include "agent/nodeattestor/node_identity.h"
#include "agent/sync/jwt_fetch.h"
#include "agent/sync/sync_loop.h"
#include "agent/version.h"
#include "lib/io/on_worker.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/metered_keys.h"
#include "lib/telemetry/rpc_metrics.h"
#include "lib/telemetry/uptime.h"

namespace steeple::agent {
namespace {

// Streams of workloads never end by themselves, so this is what every stop takes.
constexpr auto kStopGrace = std::chrono::milliseconds(200);
constexpr mode_t kPublicSocketMode = 0777;
constexpr mode_t kAdminSocketMode = 0770;
constexpr mode_t kSocketFolderMode = 0755;

// Services whose connections the reference counts, and its names for them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kAdminApis = {
    {{"/spire.agent.debug.v1.Debug/", "debug"}, {"/spire.api.agent.logger.v1.Logger/", "logger"}}};

// "/SpiffeWorkloadAPI/FetchX509SVID" -> "rpc.workload_api.fetch_x509svid", as the reference names
// it; other services by the general rule.
std::string metric_key(std::string_view method) {
  std::size_t slash = method.rfind('/');
  if (slash == std::string_view::npos || slash == 0) {
    return "rpc.unknown";
  }
  std::string_view service = method.substr(1, slash - 1);
  if (service == "SpiffeWorkloadAPI") {
    service = "spire.api.server.WorkloadAPI";
  }
  return rpc_metric_key(service, method.substr(slash + 1));
}

}  // namespace

class Agent::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(AgentConfig config, Deps deps, Hooks hooks)
      : config_(std::move(config)),
        deps_(std::move(deps)),
        hooks_(std::move(hooks)),
        keys_(with_agent_metrics(std::move(deps_.keys), deps_.metrics, deps_.loop.clock())),
        node_attestor_(std::move(deps_.node_attestor)),
        tokens_(config_.jwt_cache_max, deps_.log.subsystem("cache_manager"), deps_.metrics),
        cache_({.trust_domain = config_.trust_domain,
                .svids_max = config_.x509_cache_max,
                .late = &is_late,
                .rotation = config_.rotation},
               {.clock = deps_.loop.clock(),
                .random = deps_.random,
                .log = deps_.log.subsystem("cache_manager"),
                .metrics = deps_.metrics,
                .wished =
                    [this] {
                      if (sync_) {
                        sync_->wished();
                      }
                    },
                .late_wanted = [this](bool wanted) { late_wanted(wanted); }}),
        attestors_(deps_.workers, std::move(deps_.workload_attestors), attestor_hooks()) {}

  void start() {
    LOG_INFO(deps_.log, "Starting agent", {"data_dir", config_.data_dir}, {"version", kVersion});
    uptime_.emplace(deps_.loop, deps_.metrics, kVersion, config_.trust_domain.name());
    io::on_worker(
        deps_.workers, deps_.loop, weak_from_this(),
        [data = deps_.data] { return AgentStore::open(data); },
        [this](Result<std::shared_ptr<AgentStore>> store) {
          if (!store.ok()) {
            end(std::move(store.error()));
          } else {
            identify(std::move(*store));
          }
        });
  }

  void stop() {
    if (!ended_) {
      LOG_INFO(deps_.log, "Stopping agent APIs");
      end({});
    }
  }

  bool started() const { return started_; }
  const AgentConfig& config() const { return config_; }

  std::shared_ptr<const tls::Identity> svid() const {
    AgentSvidPtr svid = identity_ ? identity_->svid() : nullptr;
    return svid ? svid->identity : nullptr;
  }

  x509::AuthoritiesPtr authorities(const spiffe::TrustDomain& domain) const {
    const TrustBundles& bundles = cache_.bundles();
    auto at = bundles.find(domain);
    return at == bundles.end() ? nullptr : at->second->authorities;
  }

 private:
  AttestorsHooks attestor_hooks() {
    // Runs on workers: a copy of the log, no this.
    return {.failed =
                [log = deps_.log.subsystem("workload_attestor")](const std::string& attestor,
                                                                 pid_t pid, const Error& error) {
                  LOG_ERROR(log, "Failed to collect all selectors for PID", {"attestor", attestor},
                            {"pid", pid}, {"error", error});
                },
            .metrics = &deps_.metrics,
            .clock = &deps_.loop.clock()};
  }

  void late_wanted(bool wanted) {
    if (!deps_.late) {
      return;
    }
    deps_.late->wanted = wanted;
    if (wanted && workload_api_) {
      workload_api_->attest_streams_again();
    }
  }

  void identify(std::shared_ptr<AgentStore> store) {
    if (ended_) {
      return;
    }
    // Built apart: inside the braces g++ 12 takes it for a copy out of bounds when it optimises.
    std::string user_agent = "spire-agent/";
    user_agent += kVersion;
    identity_.emplace(
        NodeIdentity::Options{
            .trust_domain = config_.trust_domain,
            .server = io::Endpoint::tcp(config_.server_address, config_.server_port),
            .bootstrap = config_.bootstrap,
            .rotation = config_.rotation,
            .user_agent = std::move(user_agent),
            .memory_keys = deps_.memory_keys,
            .keepalive_interval = config_.keepalive_interval},
        NodeIdentity::Deps{.loop = deps_.loop,
                           .workers = deps_.workers,
                           .network = deps_.network,
                           .handshake = deps_.handshake,
                           .random = deps_.random,
                           .keys = keys_,
                           .store = std::move(store),
                           .attestor = node_attestor_,
                           .log = deps_.log.subsystem("attestor"),
                           .metrics = deps_.metrics,
                           .stopped = [this](Error error) { end(std::move(error)); }});
    identity_->start([this](Result<void> ready) {
      if (!ready.ok()) {
        end(std::move(ready.error()));
      } else if (!ended_) {
        sync();
      }
    });
  }

  void sync() {
    sync_.emplace(SyncLoop::Options{.trust_domain = config_.trust_domain,
                                    .sync_interval = config_.sync_interval,
                                    .safety_interval = config_.safety_sync_interval,
                                    .use_sync_rpc = config_.use_sync_authorized_entries,
                                    .workload_key_type = config_.workload_key_type,
                                    .rotation = config_.rotation,
                                    .version = kVersion},
                  SyncLoop::Deps{.loop = deps_.loop,
                                 .workers = deps_.workers,
                                 .random = deps_.random,
                                 .identity = *identity_,
                                 .cache = cache_,
                                 .tokens = tokens_,
                                 .log = deps_.log.subsystem("manager"),
                                 .metrics = deps_.metrics});
    token_fetch_.emplace(config_.jwt_cache_hit_timeout,
                         JwtFetch::Deps{.loop = deps_.loop,
                                        .random = deps_.random,
                                        .identity = *identity_,
                                        .cache = tokens_,
                                        .log = deps_.log.subsystem("manager")});
    sync_->start([this] {
      if (!ended_) {
        serve();
      }
    });
  }

  void serve() {
    Result<void> opened = open_public();
    if (opened.ok()) {
      opened = open_admin();
    }
    if (!opened.ok()) {
      end(std::move(opened.error()));
      return;
    }
    started_ = true;
    if (hooks_.serving) {
      hooks_.serving();
    }
  }

  Result<void> open_public() {
    if (config_.socket_path.empty()) {
      LOG_INFO(deps_.log, "Skipping agent APIs because public endpoint is disabled",
               {"apis", "Workload and SDS APIs"});
      return {};
    }
    Logger log = deps_.log.subsystem("endpoints");
    public_server_ = make_server(&WorkloadApi::authorize);
    if (config_.workload_api) {
      workload_api_.emplace(workload_options(), WorkloadApi::Deps{.loop = deps_.loop,
                                                                  .proc_fs = deps_.proc_fs,
                                                                  .attestors = attestors_,
                                                                  .cache = cache_,
                                                                  .tokens = *token_fetch_,
                                                                  .log = log,
                                                                  .metrics = deps_.metrics});
      workload_api_->add_to(*public_server_);
    }
    public_server_->add_health([this] { return started_; });
    public_server_->add_reflection();
    public_listener_ = TRY(listen(*public_server_, config_.socket_path, kPublicSocketMode)
                               .during("create UDS listener"));
    LOG_INFO(log, "Starting agent APIs", {"address", config_.socket_path}, {"network", "unix"},
             {"apis", config_.workload_api ? "Workload API" : "no APIs"});
    return {};
  }

  WorkloadApi::Options workload_options() const {
    return {.trust_domain = config_.trust_domain,
            .allow_unauthenticated_verifiers = config_.allow_unauthenticated_verifiers,
            .allowed_foreign_jwt_claims = {config_.allowed_foreign_jwt_claims.begin(),
                                           config_.allowed_foreign_jwt_claims.end()},
            .log_selectors = config_.log_selectors,
            .rate_limits = config_.rate_limits,
            .attest_on_loop = deps_.attest_on_loop,
            .own_pid = deps_.own_pid};
  }

  Result<void> open_admin() {
    if (config_.admin_socket_path.empty()) {
      return {};
    }
    admin_server_ = make_server({});
    admin_api_.emplace(AdminApi::Deps{.clock = deps_.loop.clock(),
                                      .identity = *identity_,
                                      .cache = cache_,
                                      .tokens = tokens_,
                                      .last_sync = [this] { return sync_->last_sync(); },
                                      .log = deps_.log});
    admin_api_->add_to(*admin_server_);
    admin_server_->add_reflection();
    admin_listener_ = TRY(listen(*admin_server_, config_.admin_socket_path, kAdminSocketMode)
                              .during("create admin listener"));
    LOG_INFO(deps_.log, "Starting admin APIs", {"address", config_.admin_socket_path},
             {"network", "unix"});
    return {};
  }

  std::unique_ptr<rpc::Server> make_server(Result<void> (*authorize)(const rpc::CallContext&)) {
    rpc::ServerHooks hooks;
    if (authorize != nullptr) {
      hooks.authorize = [authorize](rpc::CallContext& call) { return authorize(call); };
    }
    if (deps_.metrics.enabled()) {
      hooks.observe = [this](const rpc::CallContext& call, Code code, Duration took) {
        observe(call, code, took);
      };
    }
    return std::make_unique<rpc::Server>(rpc::Server::Deps{deps_.loop, deps_.workers, deps_.random},
                                         rpc::ServerOptions{}, std::move(hooks));
  }

  void observe(const rpc::CallContext& call, Code code, Duration took) {
    bool own = call.peer && call.peer->process && call.peer->process->pid == deps_.own_pid;
    if (own || code == Code::kUnimplemented) {
      return;  // unknown methods must not make series
    }
    rpc_metrics_.finished(call.method, code, took);
    for (const auto& [service, api] : kAdminApis) {
      if (call.method.starts_with(service)) {
        // One call at a time, on the loop: none is open between two.
        deps_.metrics.count(fmt::format("{}_api.connection", api));
        deps_.metrics.gauge(fmt::format("{}_api.connections", api), 0);
      }
    }
  }

  Result<std::unique_ptr<io::Listener>> listen(rpc::Server& server, const std::string& path,
                                               mode_t mode) {
    return deps_.network.listen(deps_.loop, io::Endpoint::unix_socket(path),
                                {.socket_mode = mode, .directory_mode = kSocketFolderMode},
                                [&server](std::unique_ptr<io::Connection> connection) {
                                  server.serve(std::move(connection));
                                });
  }

  // --- the end ----------------------------------------------------------------------------------

  void end(Result<void> why) {
    if (std::exchange(ended_, true)) {
      return;
    }
    started_ = false;
    why_ = std::move(why);
    public_listener_ = nullptr;
    admin_listener_ = nullptr;
    closing_ = 1;
    for (rpc::Server* server : {public_server_.get(), admin_server_.get()}) {
      if (server != nullptr) {
        ++closing_;
        server->shutdown(kStopGrace, [weak = weak_from_this()] {
          if (auto self = weak.lock()) {
            self->closed_one();
          }
        });
      }
    }
    // Not inside whoever called us: what ends us may be destroyed by the hook.
    deps_.loop.post([weak = weak_from_this()] {
      if (auto self = weak.lock()) {
        self->closed_one();
      }
    });
  }

  void closed_one() {
    if (--closing_ == 0 && hooks_.ended) {
      hooks_.ended(std::move(why_));
    }
  }

  AgentConfig config_;
  Deps deps_;
  RpcMetrics rpc_metrics_{deps_.metrics, metric_key};
  Hooks hooks_;
  std::shared_ptr<keymanager::KeyManager> keys_;
  std::shared_ptr<NodeAttestor> node_attestor_;
  std::optional<Uptime> uptime_;
  JwtCache tokens_;
  X509Cache cache_;
  Attestors attestors_;
  std::optional<NodeIdentity> identity_;
  std::optional<SyncLoop> sync_;
  std::optional<JwtFetch> token_fetch_;
  std::optional<WorkloadApi> workload_api_;
  std::optional<AdminApi> admin_api_;
  std::unique_ptr<rpc::Server> public_server_, admin_server_;
  std::unique_ptr<io::Listener> public_listener_, admin_listener_;
  bool started_ = false;
  bool ended_ = false;
  int closing_ = 0;
  Result<void> why_;
};

Agent::Agent(AgentConfig config, Deps deps, Hooks hooks)
    : core_(std::make_shared<Core>(std::move(config), std::move(deps), std::move(hooks))) {}

Agent::~Agent() = default;

void Agent::start() { core_->start(); }

void Agent::stop() { core_->stop(); }

bool Agent::started() const { return core_->started(); }

const AgentConfig& Agent::config() const { return core_->config(); }

std::shared_ptr<const tls::Identity> Agent::svid() const { return core_->svid(); }

x509::AuthoritiesPtr Agent::authorities(const spiffe::TrustDomain& domain) const {
  return core_->authorities(domain);
}

}  // namespace steeple::agent
