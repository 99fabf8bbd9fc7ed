// SPDX-License-Identifier: Apache-2.0

#include "controller/run.h"

#include <fmt/format.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <ostream>
#include <utility>

#include "controller/controller.h"
#include "controller/version.h"
#include "lib/cli/daemon.h"
#include "lib/cli/flags.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/kube/access.h"
#include "lib/kube/curl_transport.h"
#include "lib/telemetry/log_output.h"
#include "lib/telemetry/metrics_registry.h"

namespace steeple::controller {
namespace {

constexpr std::size_t kWorkerThreads = 1;
constexpr std::string_view kKubernetesService = "kubernetes.default.svc";

void bind(cli::FlagSet& flags, ControllerFlags& to, bool& version) {
  flags.add("config", &to.config_path,
            "The controller will load its initial configuration from this file. Omit this flag to "
            "use the default configuration values. Command-line flags override configuration from "
            "this file.");
  flags.add("expand-env", &to.expand_env,
            "Expand environment variables in SPIRE Controller Manager config file");
  flags.add("spire-api-socket", &to.spire_api_socket,
            "The path to the SPIRE API socket (deprecated; use the config file)");
  flags.add("kubeconfig", &to.kubeconfig,
            "Paths to a kubeconfig. Only required if out-of-cluster.");
  flags.add("zap-devel", &to.zap_devel, "Accepted and without effect");
  flags.add("zap-encoder", &to.zap_encoder, "Log encoding (one of 'json' or 'console')");
  flags.add("zap-log-level", &to.zap_log_level,
            "Level of detail of the log: 'debug', 'info', 'warn' or 'error'");
  flags.add("zap-stacktrace-level", &to.zap_stacktrace_level, "Accepted and without effect");
  flags.add("zap-time-encoding", &to.zap_time_encoding, "Accepted and without effect");
  flags.add("dry-run", &to.dry_run,
            "Print what would be created, updated and deleted, change nothing, and exit");
  flags.add("version", &version, "Print the version and exit");
}

// The cluster's domain is the rest of the canonical name of the API server's service. Blocks.
Result<std::string> detect_cluster_domain() {
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(std::string(kKubernetesService).c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return unavailable(fmt::format("unable to lookup CNAME: {}", ::gai_strerror(error)));
  }
  std::string name = found->ai_canonname == nullptr ? "" : found->ai_canonname;
  ::freeaddrinfo(found);
  std::string prefix = std::string(kKubernetesService) + ".";
  if (!name.starts_with(prefix)) {
    return not_found(
        fmt::format("unable to parse CNAME \"{}\": CNAME did not have expected prefix", name));
  }
  name = name.substr(prefix.size());
  if (name.ends_with('.')) {
    name.pop_back();
  }
  if (name.empty()) {
    return not_found("CNAME did not have a cluster domain");
  }
  return name;
}

// What stands between the controller and the API server.
struct Kubernetes {
  std::string default_namespace;
  std::unique_ptr<kube::Access> access;
  std::unique_ptr<kube::Transport> transport;
  std::unique_ptr<kube::Client> client;
};

Result<Kubernetes> connect_kubernetes(const ControllerFlags& flags,
                                      const cli::Environment& environment, io::AsioLoop& loop) {
  Kubernetes out;
  kube::AccessConfig config = TRY(kube::find_access(
      flags.kubeconfig, [&](const char* name) { return environment.variable(name); }));
  out.default_namespace = config.default_namespace;
  out.access = kube::make_access(std::move(config), loop.clock());
  out.transport = std::make_unique<kube::CurlTransport>(loop);
  out.client = std::make_unique<kube::Client>(
      kube::Client::Deps{loop, *out.transport, *out.access},
      kube::ClientOptions{.user_agent = fmt::format("spire-controller-manager/{}", kVersion)});
  return out;
}

// In a cluster a pod's host name is its name, unless the pod says otherwise.
std::string pod_name(const cli::Environment& environment) {
  if (auto name = environment.variable("POD_NAME")) {
    return *name;
  }
  return environment.variable("KUBERNETES_SERVICE_HOST") ? local_host_name() : "";
}

void on_signal(int signal, const Logger& log, io::AsioLoop& loop, Controller& controller,
               bool& stopping) {
  if (signal == SIGUSR2) {
    if (auto reopened = log.reopen(); !reopened.ok()) {
      LOG_ERROR(log, "Failed to reopen the log file", {"error", reopened.error()});
    }
  } else if (!std::exchange(stopping, true)) {
    controller.stop();
  } else {
    loop.stop();  // asked twice
  }
}

Result<void> serve(ControllerConfig config, const ControllerFlags& flags, const Logger& log,
                   cli::Environment& environment) {
  io::AsioLoop loop;
  io::SocketNetwork network;
  auto handshake = tls::openssl_handshake();
  auto workers =
      std::make_unique<io::WorkerPool>(io::WorkerPool::Options{.threads = kWorkerThreads});
  Kubernetes kubernetes;
  if (!config.static_manifest_path) {
    kubernetes = TRY(connect_kubernetes(flags, environment, loop).during("API server"));
  }
  auto variable = [&](const char* name) { return environment.variable(name).value_or(""); };
  Result<void> ended;
  auto controller = std::make_unique<Controller>(
      std::move(config),
      Controller::Deps{.loop = loop,
                       .workers = *workers,
                       .network = network,
                       .handshake = *handshake,
                       .client = kubernetes.client.get(),
                       .random = system_random(),
                       .log = log,
                       .environment = environment.variable},
      Controller::Options{.webhook = variable("ENABLE_WEBHOOKS") != "false",
                          .dry_run = flags.dry_run,
                          .host_name = local_host_name(),
                          .pod_namespace = variable("POD_NAMESPACE").empty()
                                               ? kubernetes.default_namespace
                                               : variable("POD_NAMESPACE"),
                          .pod_name = pod_name(environment)},
      Controller::Hooks{.ended =
                            [&](Result<void> how) {
                              ended = std::move(how);
                              loop.stop();
                            },
                        .planned =
                            [&](const std::vector<std::string>& lines) {
                              for (const std::string& line : lines) {
                                environment.out << line << "\n";
                              }
                              environment.out << fmt::format("{} change{}\n", lines.size(),
                                                             lines.size() == 1 ? "" : "s");
                            },
                        .ready = [&loop] { cli::give_back_start_memory(loop); }});
  bool stopping = false;
  loop.on_signals({SIGINT, SIGTERM, SIGUSR2},
                  [&](int signal) { on_signal(signal, log, loop, *controller, stopping); });
  controller->start();
  loop.run();
  workers.reset();
  controller.reset();
  return ended;
}

void tell_config(const Logger& log, const ControllerConfig& config) {
  LOG_INFO(log, "Config loaded", {"cluster name", config.cluster_name},
           {"cluster domain", config.cluster_domain}, {"trust domain", config.trust_domain},
           {"ignore namespaces", fmt::format("[{}]", fmt::join(config.ignore_namespaces, " "))},
           {"gc interval", format_go_duration(config.gc_interval)},
           {"spire server socket path", config.server_socket}, {"class name", config.class_name},
           {"handle crs without class name", config.watch_classless},
           {"reconcile ClusterSPIFFEIDs", config.reconcile.spiffe_ids},
           {"reconcile ClusterFederatedTrustDomains", config.reconcile.federated_trust_domains},
           {"reconcile ClusterStaticEntries", config.reconcile.static_entries},
           {"entryIDPrefix", config.entry_id_prefix},
           {"entryIDPrefixCleanup", config.entry_id_prefix_cleanup.value_or("<unset>")},
           {"maxForeignDeletions", config.max_foreign_deletions.text()},
           {"podAnnotation", config.spiffe_id_annotation});
}

}  // namespace

int run(std::span<const std::string> arguments, cli::Environment& environment) {
  ControllerFlags flags;
  bool version = false;
  cli::FlagSet set("spire-controller-manager");
  bind(set, flags, version);
  std::string printed;
  if (auto parsed = set.parse(arguments, printed); !parsed.ok()) {
    environment.err << printed;
    return parsed.error().message == "flag: help requested" ? 0 : 2;
  }
  if (version) {
    environment.out << kVersion << "\n";
    return 0;
  }
  std::vector<std::string> not_hardened = cli::harden_process({});
  auto fail = [&](const Error& error) {
    environment.err << "error parsing configuration: " << error.message << "\n";
    return 1;
  };
  Result<LoadedConfig> loaded = load_config(flags, environment.variable);
  if (!loaded.ok()) {
    return fail(loaded.error());
  }
  ControllerConfig& config = loaded->config;
  LogConfig log_config{.level = config.log_level,
                       .format = config.log_encoding == "json" ? "json" : ""};
  // Standard output is the plan's, when that is asked for.
  Result<Logger> opened = flags.dry_run ? open_log_on(STDERR_FILENO, log_config, system_clock())
                                        : open_log(log_config, system_clock());
  if (!opened.ok()) {
    return fail(opened.error());
  }
  Logger log = std::move(*opened);
  for (const std::string& text : not_hardened) {
    LOG_WARN(log, text);
  }
  for (const std::string& text : loaded->warnings) {
    LOG_WARN(log, text);
  }
  if (!loaded->unknown_keys.empty()) {
    LOG_WARN(log, "Unknown configuration keys are ignored",
             {"keys", fmt::format("{}", fmt::join(loaded->unknown_keys, ","))});
  }
  if (config.cluster_domain.empty() && !config.static_manifest_path) {
    Result<std::string> domain = detect_cluster_domain();
    if (domain.ok()) {
      config.cluster_domain = *domain;
    } else {
      LOG_ERROR(log, "unable to autodetect cluster domain", {"error", domain.error()});
    }
  }
  tell_config(log, config);
  Result<void> served = serve(std::move(config), flags, log, environment);
  if (!served.ok()) {
    LOG_ERROR(log, "problem running manager", {"error", served.error()});
    return 1;
  }
  return 0;
}

}  // namespace steeple::controller
