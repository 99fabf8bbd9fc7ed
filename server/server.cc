// SPDX-License-Identifier: Apache-2.0

#include "server/server.h"

#include <fmt/format.h>

#include "lib/http/server.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/health.h"
#include "lib/telemetry/listeners.h"
#include "lib/telemetry/metered_keys.h"
#include "lib/telemetry/rpc_metrics.h"
#include "lib/telemetry/uptime.h"
#include "lib/tls/proxy_protocol.h"
#include "lib/tls/spiffe_policy.h"
#include "server/api/bundle_cache.h"
#include "server/api/services.h"
#include "server/authz/authorizer.h"
#include "server/bundlepublisher/catalog.h"
#include "server/ca/periodic.h"
#include "server/datastore/event_follower.h"
#include "server/datastore/metered_datastore.h"
#include "server/datastore/sql_datastore.h"
#include "server/federation/bundle_endpoint.h"
#include "server/foreign_changes.h"
#include "server/health.h"
#include "server/notifier/catalog.h"
#include "server/pruning.h"
#include "server/upstreamauthority/catalog.h"
#include "server/version.h"

namespace steeple::server {
namespace {

// Calls per second and client address (surface 4.3).
constexpr std::size_t kAttestPerSecond = 1;
constexpr std::size_t kSignPerSecond = 500;
constexpr std::size_t kPublishKeyPerSecond = 500;
constexpr std::size_t kPostStatusPerSecond = 10;

x509::Name ca_subject(const CaSubjectConfig& config) {
  x509::Name name;
  name.country = config.country;
  name.organization = config.organization;
  name.common_name = config.common_name;
  return name;
}

CredentialOptions credential_options(const ServerConfig& config) {
  return {.trust_domain = config.trust_domain,
          .ca_subject = ca_subject(config.section.ca_subject),
          .ca_ttl = config.section.ca_ttl,
          .x509_svid_ttl = config.section.default_x509_svid_ttl,
          .jwt_svid_ttl = config.section.default_jwt_svid_ttl,
          .agent_ttl = config.section.agent_ttl.value_or(Duration(0)),
          .jwt_issuer = config.section.jwt_issuer};
}

std::set<spiffe::TrustDomain> domains_of(const std::vector<spiffe::SpiffeId>& ids) {
  std::set<spiffe::TrustDomain> out;
  for (const spiffe::SpiffeId& id : ids) {
    out.insert(id.trust_domain());
  }
  return out;
}

Duration positive_or(const std::optional<Duration>& given, Duration otherwise) {
  return given && *given > Duration(0) ? *given : otherwise;
}

Duration event_timeout(const ExperimentalConfig& config) {
  return positive_or(config.event_timeout ? config.event_timeout : config.sql_transaction_timeout,
                     EventFollower::kEventTimeout);
}

}  // namespace

// Members in the order of dependency: what stands lower uses what stands higher.
class Server::Parts {
 public:
  Parts(ServerConfig config, Stores stores, Deps deps)
      : config_(std::move(config)), stores_(std::move(stores)), deps_(std::move(deps)) {}

  Result<void> start() {
    started_ = deps_.clock.steady();
    LOG_INFO(deps_.log, "Configured", {"admin_ids", config_.section.admin_ids.size()},
             {"data_dir", config_.section.data_dir});
    for (const std::string& warning : config_.warnings) {
      LOG_WARN(deps_.log, warning);
    }
    uptime_.emplace(deps_.loop, metrics(), kVersion, config_.trust_domain.name());
    TRY(open_datastore());
    TRY(open_authorities());
    TRY(load_caches());
    TRY(open_attestors());
    TRY(listen());
    TRY(serve_bundle());
    TRY(deliver_bundle());
    TRY(serve_telemetry());
    start_timers();
    // Last: from here on workers run what uses us.
    return health_->start();
  }

  void stop(io::Task done) {
    tcp_listener_.reset();
    uds_listener_.reset();
    bundle_endpoint_.reset();
    own_changed_ = {};
    delivery_.reset();
    draining_->publish(true);
    auto shared_done = std::make_shared<io::Task>(std::move(done));
    auto left = std::make_shared<int>(2);
    auto one_done = [shared_done, left] {
      if (--*left == 0) {
        (*shared_done)();
      }
    };
    tcp_server_->shutdown(limits::kGracefulStop, one_done);
    uds_server_->shutdown(limits::kGracefulStop, one_done);
  }

  io::Endpoint endpoint() const { return tcp_listener_->endpoint(); }

 private:
  Metrics& metrics() {
    return deps_.metrics != nullptr ? static_cast<Metrics&>(*deps_.metrics) : no_metrics();
  }

  Result<void> open_datastore() {
    DatastoreOptions options;
    options.disable_migration = stores_.disable_migration;
    options.warn = [log = deps_.log.subsystem("sql")](std::string_view text) {
      LOG_WARN(log, text);
    };
    datastore_ =
        with_metrics(TRY(open_sql_datastore(stores_.database, deps_.clock, deps_.random, options)),
                     metrics(), deps_.clock);
    stores_.keys = with_server_metrics(std::move(stores_.keys), metrics(), deps_.clock);
    return {};
  }

  Result<void> open_authorities() {
    auto upstreams = hcl::enabled_plugins(config_.plugins, "UpstreamAuthority");
    if (!upstreams.empty()) {
      upstream_ = TRY(make_upstream_authority(*upstreams.front(), config_.trust_domain,
                                              {.clock = deps_.clock,
                                               .random = deps_.random,
                                               .log = deps_.log.subsystem("upstreamauthority")}));
    }
    ca_ = std::make_unique<Ca>(
        credential_options(config_),
        Ca::Deps{.clock = deps_.clock, .random = deps_.random, .metrics = metrics()});
    keeper_ = TRY(AuthorityKeeper::open({.ca_key_type = config_.section.ca_key_type,
                                         .jwt_key_type = config_.jwt_key_type(),
                                         .disable_jwt_svids = config_.section.disable_jwt_svids},
                                        {.clock = deps_.clock,
                                         .random = deps_.random,
                                         .datastore = *datastore_,
                                         .keys = *stores_.keys,
                                         .upstream = upstream_.get(),
                                         .ca = *ca_,
                                         .log = deps_.log.subsystem("ca_manager"),
                                         .metrics = metrics()}));
    TRY(keeper_->tick());
    server_svid_ = std::make_unique<ServerSvid>(
        config_.section.ca_key_type, ServerSvid::Deps{.clock = deps_.clock,
                                                      .ca = *ca_,
                                                      .log = deps_.log.subsystem("svid_rotator"),
                                                      .metrics = metrics()});
    return server_svid_->tick();
  }

  Result<void> load_caches() {
    follower_ = TRY(EventFollower::start(event_timeout(config_.section.experimental),
                                         {.datastore = *datastore_, .clock = deps_.clock})
                        .during("read the event tables"));
    // First: listeners are told in the order of subscription, and whoever hears of a ban from the
    // index asks the authorizer at once.
    authorizer_ = std::make_unique<Authorizer>(
        Authorizer::Deps{.datastore = *datastore_,
                         .clock = deps_.clock,
                         .random = deps_.random,
                         .log = deps_.log.subsystem("api")},
        Authorizer::Options{.admin_ids = config_.admin_ids,
                            .node_staleness_max = config_.section.max_attested_node_info_staleness,
                            .audit_log = config_.section.audit_log_enabled});
    std::set<spiffe::TrustDomain> others = domains_of(config_.admin_ids);
    if (const auto& prometheus = config_.telemetry.prometheus; prometheus && prometheus->tls) {
      others.merge(domains_of(TRY(authorized_ids(*prometheus->tls))));
    }
    bundles_ = std::make_unique<BundleCache>(config_.trust_domain, std::move(others), *datastore_,
                                             deps_.log.subsystem("bundle_cache"));
    TRY(bundles_->load());
    index_ = std::make_unique<EntryIndex>(
        config_.trust_domain,
        EntryIndex::Deps{.datastore = *datastore_,
                         .bad_row = [log = deps_.log.subsystem("entry_index")](const Error& error) {
                           LOG_ERROR(log, "Skipping a row that cannot be read", {"error", error});
                         }});
    return index_->load().during("load registration entries");
  }

  Result<void> open_attestors() {
    attestors_ = TRY(NodeAttestors::make(
        hcl::enabled_plugins(config_.plugins, "NodeAttestor"), config_.trust_domain,
        {.datastore = *datastore_,
         .x509pop = {.clock = deps_.clock,
                     .random = deps_.random,
                     .own_bundle = [this]() -> Result<x509::AuthoritiesPtr> {
                       auto set = bundles_->authorities()->get();
                       auto at = set->find(config_.trust_domain);
                       return at != set->end() ? at->second : nullptr;
                     },
                     .log = deps_.log.subsystem("nodeattestor")},
         .kube = deps_.kube ? &*deps_.kube : nullptr}));
    return {};
  }

  RateLimits make_limits() {
    auto limiter = [this](std::size_t per_second) {
      limiters_.push_back(std::make_unique<RateLimiter>(deps_.clock, per_second));
      return limiters_.back().get();
    };
    RateLimits limits;
    if (config_.section.ratelimit.attestation) {
      limits.attestation = limiter(kAttestPerSecond);
    }
    if (config_.section.ratelimit.signing) {
      limits.signing_x509 = limiter(kSignPerSecond);
      limits.signing_jwt = limiter(kSignPerSecond);
    }
    limits.publish_key = limiter(kPublishKeyPerSecond);
    limits.post_status = limiter(kPostStatusPerSecond);
    return limits;
  }

  std::unique_ptr<rpc::Server> make_rpc_server(Duration age_max) {
    rpc::ServerOptions options;
    options.connection_age_max = age_max;
    rpc::ServerHooks hooks;
    hooks.authorize = [this](rpc::CallContext& call) -> Result<void> {
      call.caller = TRY(authorizer_->authorize(call.method, call.peer));
      return {};
    };
    if (deps_.metrics != nullptr) {
      hooks.observe = [this](const rpc::CallContext& call, Code code, Duration took) {
        rpc_metrics_.finished(call.method, code, took);
      };
    }
    return std::make_unique<rpc::Server>(
        rpc::Server::Deps{.loop = deps_.loop, .workers = deps_.workers, .random = deps_.random},
        options, std::move(hooks));
  }

  static std::string metric_key(std::string_view method) {
    std::size_t slash = method.rfind('/');
    if (slash == std::string_view::npos || slash == 0) {
      return {};
    }
    return rpc_metric_key(method.substr(1, slash - 1), method.substr(slash + 1));
  }

  Result<void> listen() {
    tcp_server_ = make_rpc_server(deps_.pace.connection_age_max);
    uds_server_ = make_rpc_server(Duration::max());
    services_ = std::make_unique<ServiceDeps>(ServiceDeps{
        .trust_domain = config_.trust_domain,
        .clock = deps_.clock,
        .random = deps_.random,
        .datastore = *datastore_,
        .index = *index_,
        .ca = *ca_,
        .authorities = *keeper_,
        .server_svid = *server_svid_,
        .attestors = *attestors_,
        .authorizer = *authorizer_,
        .bundles = *bundles_,
        .limits = make_limits(),
        .log = deps_.log,
        .started = started_,
        .agent_spiffe_id_as_selector = config_.section.experimental.agent_spiffe_id_as_selector,
        .draining = draining_});
    for (auto* server : {tcp_server_.get(), uds_server_.get()}) {
      endpoints_.push_back(std::make_unique<Endpoint>(*server, deps_.loop, deps_.workers));
      Endpoint& endpoint = *endpoints_.back();
      register_agent_service(endpoint, *services_);
      register_bundle_service(endpoint, *services_);
      register_entry_service(endpoint, *services_);
      register_svid_service(endpoint, *services_);
      register_push_service(endpoint, *services_);
      register_unbuilt_services(endpoint);
    }
    Endpoint& local = *endpoints_.back();
    register_debug_service(local, *services_);
    register_logger_service(local, *services_);
    uds_server_->add_health([this] { return bundles_->own() != nullptr; });
    uds_server_->add_reflection();
    TRY(listen_tcp());
    return listen_uds();
  }

  Result<void> listen_tcp() {
    auto policy = std::make_shared<tls::ServerPolicy>();
    policy->identity = [this] { return server_svid_->identity().get(); };
    policy->verify_client =
        tls::verify_member_or_admin(config_.trust_domain, config_.admin_ids,
                                    tls::authorities_from(bundles_->authorities()), deps_.clock);
    policy_ = std::move(policy);
    trusted_proxies_ = TRY(tls::TrustedNetworks::parse(config_.section.proxy_protocol_trusted_cidrs)
                               .during("invalid proxy_protocol_trusted_cidrs value"));
    auto at = io::Endpoint::tcp(config_.section.bind_address,
                                static_cast<std::uint16_t>(config_.section.bind_port));
    tcp_listener_ =
        TRY(deps_.network.listen(deps_.loop, at, {}, [this](std::unique_ptr<io::Connection> raw) {
          accept(std::move(raw));
        }));
    LOG_INFO(deps_.log.subsystem("endpoints"), "Starting Server APIs",
             {"address", tcp_listener_->endpoint().text()}, {"network", "tcp"});
    return {};
  }

  void accept(std::unique_ptr<io::Connection> raw) {
    if (trusted_proxies_.empty()) {
      handshake(std::move(raw));
      return;
    }
    tls::read_proxy_header(deps_.loop, std::move(raw), trusted_proxies_, limits::kHandshakeTimeout,
                           [this](Result<std::unique_ptr<io::Connection>> connection) {
                             if (connection.ok()) {
                               handshake(std::move(*connection));
                             }
                           });
  }

  void handshake(std::unique_ptr<io::Connection> raw) {
    deps_.handshake.accept(deps_.loop, std::move(raw), policy_, limits::kHandshakeTimeout,
                           [this](Result<std::unique_ptr<io::Connection>> secured) {
                             if (secured.ok()) {
                               tcp_server_->serve(std::move(*secured));
                             } else {
                               LOG_DEBUG(deps_.log.subsystem("endpoints"), "TLS handshake failed",
                                         {"error", secured.error()});
                             }
                           });
  }

  Result<void> listen_uds() {
    // Who may call is decided by the socket's file; the process is for the audit log. The
    // controller manager in the next container has a pid namespace of its own.
    uds_listener_ = TRY(deps_.network.listen(
        deps_.loop, io::Endpoint::unix_socket(config_.section.socket_path),
        {.socket_mode = 0770, .directory_mode = 0750, .foreign_processes = true},
        [this](std::unique_ptr<io::Connection> raw) { uds_server_->serve(std::move(raw)); }));
    LOG_INFO(deps_.log.subsystem("endpoints"), "Starting Server APIs",
             {"address", config_.section.socket_path}, {"network", "unix"});
    return {};
  }

  Result<void> serve_bundle() {
    const auto& federation = config_.section.federation;
    if (!federation || !federation->bundle_endpoint) {
      return {};
    }
    bundle_endpoint_ =
        TRY(BundleEndpoint::start(*federation->bundle_endpoint,
                                  {.loop = deps_.loop,
                                   .network = deps_.network,
                                   .handshake = deps_.handshake,
                                   .log = deps_.log.subsystem("endpoints"),
                                   .identity = [this] { return server_svid_->identity().get(); },
                                   .bundle = [this] { return bundles_->own(); }}));
    return {};
  }

  // Copies of the bundle in Kubernetes and elsewhere; failures there never stop us.
  Result<void> deliver_bundle() {
    BundleTargetDeps deps{.kube = deps_.kube ? &*deps_.kube : nullptr,
                          .random = deps_.random,
                          .bundle = [this] { return bundles_->own(); },
                          .log = deps_.log.subsystem("bundle_publishing")};
    std::vector<std::unique_ptr<BundleTarget>> targets;
    for (const auto* plugin : hcl::enabled_plugins(config_.plugins, "BundlePublisher")) {
      targets.push_back(TRY(make_bundle_publisher(*plugin, deps)));
    }
    for (const auto* plugin : hcl::enabled_plugins(config_.plugins, "Notifier")) {
      targets.push_back(TRY(make_notifier(*plugin, deps)));
    }
    if (targets.empty()) {
      return {};
    }
    delivery_ = std::make_unique<BundleDelivery>(
        std::move(targets),
        BundleDelivery::Deps{
            .loop = deps_.loop, .random = deps_.random, .bundle = deps.bundle, .log = deps.log});
    own_changed_ = bundles_->own_changed([core = delivery_->teller()](const auto&) { core(); });
    return {};
  }

  Result<void> serve_telemetry() {
    health_ = std::make_unique<HealthChecks>(deps_.loop, deps_.log.subsystem("health"));
    TRY(add_health_checks(*health_,
                          {.loop = deps_.loop,
                           .workers = deps_.workers,
                           .bundles = *bundles_,
                           .ca = *ca_,
                           .authorities = *keeper_,
                           .datastore = *datastore_},
                          deps_.pace.slow_health_checks));
    ListenerDeps deps{
        .loop = deps_.loop, .network = deps_.network, .log = deps_.log.subsystem("telemetry")};
    health_listener_ = TRY(serve_health(config_.health_checks, *health_, deps));
    if (config_.telemetry.prometheus && deps_.metrics != nullptr) {
      prometheus_listener_ =
          TRY(serve_prometheus(*config_.telemetry.prometheus, *deps_.metrics, deps,
                               {.workers = deps_.workers,
                                .handshake = deps_.handshake,
                                .own_svid = [this] { return server_svid_->identity().get(); },
                                .authorities = tls::authorities_from(bundles_->authorities())}));
    }
    return {};
  }

  void start_timers() {
    timers_.push_back(
        std::make_unique<Periodic>(deps_.loop, deps_.workers, deps_.pace.authority_tick,
                                   [this] { static_cast<void>(keeper_->tick().ok()); }));
    timers_.push_back(
        std::make_unique<Periodic>(deps_.loop, deps_.workers, deps_.pace.svid_tick,
                                   [this] { static_cast<void>(server_svid_->tick().ok()); }));
    const ServerSection& section = config_.section;
    Duration interval = deps_.pace.foreign_changes.value_or(positive_or(
        section.experimental.cache_reload_interval, ForeignChanges::Options{}.interval));
    if (interval != Duration::max()) {
      foreign_changes_ = std::make_unique<ForeignChanges>(
          ForeignChanges::Options{
              .interval = interval,
              .full_interval = positive_or(section.experimental.full_cache_reload_interval,
                                           ForeignChanges::Options{}.full_interval)},
          ForeignChanges::Deps{.loop = deps_.loop,
                               .workers = deps_.workers,
                               .clock = deps_.clock,
                               .datastore = *datastore_,
                               .follower = *follower_,
                               .index = *index_,
                               .bundles = *bundles_,
                               .log = deps_.log.subsystem("endpoints"),
                               .metrics = metrics()});
    }
    pruning_ = std::make_unique<Pruning>(
        Pruning::Options{.nodes_expired_for = section.prune_attested_nodes_expired_for,
                         .nodes_batch = section.prune_attested_nodes_batch_size,
                         .nodes_non_reattestable = section.prune_tofu_nodes,
                         .events_older_than = section.experimental.prune_events_older_than},
        Pruning::Deps{.loop = deps_.loop,
                      .workers = deps_.workers,
                      .clock = deps_.clock,
                      .random = deps_.random,
                      .datastore = *datastore_,
                      .log = deps_.log.subsystem("pruning"),
                      .metrics = metrics()});
  }

  ServerConfig config_;
  Stores stores_;
  Deps deps_;
  RpcMetrics rpc_metrics_{metrics(), metric_key};
  SteadyTime started_;
  std::unique_ptr<Datastore> datastore_;
  std::unique_ptr<UpstreamAuthority> upstream_;
  std::unique_ptr<Ca> ca_;
  std::unique_ptr<AuthorityKeeper> keeper_;
  std::unique_ptr<ServerSvid> server_svid_;
  std::unique_ptr<EventFollower> follower_;
  std::unique_ptr<Authorizer> authorizer_;
  std::unique_ptr<BundleCache> bundles_;
  std::unique_ptr<EntryIndex> index_;
  std::optional<NodeAttestors> attestors_;
  std::vector<std::unique_ptr<RateLimiter>> limiters_;
  std::shared_ptr<Watch<bool>> draining_ = std::make_shared<Watch<bool>>();
  std::unique_ptr<ServiceDeps> services_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::unique_ptr<rpc::Server> tcp_server_;
  std::unique_ptr<rpc::Server> uds_server_;
  std::shared_ptr<const tls::ServerPolicy> policy_;
  tls::TrustedNetworks trusted_proxies_;
  std::unique_ptr<io::Listener> tcp_listener_;
  std::unique_ptr<io::Listener> uds_listener_;
  std::unique_ptr<BundleEndpoint> bundle_endpoint_;
  std::unique_ptr<BundleDelivery> delivery_;
  Watch<jose::Bundle>::Subscription own_changed_;
  std::unique_ptr<HealthChecks> health_;
  std::unique_ptr<http::Server> health_listener_;
  std::unique_ptr<http::Server> prometheus_listener_;
  std::vector<std::unique_ptr<Periodic>> timers_;
  std::unique_ptr<ForeignChanges> foreign_changes_;
  std::unique_ptr<Pruning> pruning_;
  std::optional<Uptime> uptime_;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(ServerConfig config, Stores stores, Deps deps) {
  auto parts = std::make_unique<Parts>(std::move(config), std::move(stores), std::move(deps));
  TRY(parts->start());
  return std::make_unique<Server>(std::move(parts));
}

void Server::stop(io::Task done) { parts_->stop(std::move(done)); }

io::Endpoint Server::endpoint() const { return parts_->endpoint(); }

}  // namespace steeple::server
