// SPDX-License-Identifier: Apache-2.0

// `spire-server run` and `validate`: reads the configuration, builds the world (loop, workers,
// sockets), starts the server in it and waits for a signal.

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include "lib/cli/daemon.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/kube/curl_transport.h"
#include "lib/telemetry/log_output.h"
#include "lib/telemetry/metrics_registry.h"
#include "server/cli/commands.h"
#include "server/config/config.h"
#include "server/server.h"

namespace steeple::server {
namespace {

constexpr std::size_t kWorkerThreads = 4;

struct RunFlags {
  std::string config = "";
  bool expand_env = false;
  Overrides overrides;
};

void bind(cli::FlagSet& flags, RunFlags& to) {
  flags.add("bindAddress", &to.overrides.bind_address,
            "IP address or DNS name of the SPIRE server");
  flags.add("config", &to.config, "Path to a SPIRE config file");
  flags.add("dataDir", &to.overrides.data_dir, "Directory to store runtime data to");
  flags.add("expandEnv", &to.expand_env, "Expand environment variables in SPIRE config file");
  flags.add("logFile", &to.overrides.log_file, "File to write logs to");
  flags.add("logFormat", &to.overrides.log_format, "'text' or 'json'");
  flags.add("logLevel", &to.overrides.log_level, "'debug', 'info', 'warn', or 'error'");
  flags.add("logSourceLocation", &to.overrides.log_source_location,
            "Include source file, line number and function name in log lines");
  flags.add("serverPort", &to.overrides.bind_port, "Port number of the SPIRE server");
  flags.add("socketPath", &to.overrides.socket_path, "Path to bind the SPIRE Server API socket to");
  flags.add("trustDomain", &to.overrides.trust_domain,
            "The trust domain that this server belongs to");
}

LoadResult load(const RunFlags& flags) {
  std::string path = flags.config.empty() ? "conf/server/server.conf" : flags.config;
  return load_config(path, flags.expand_env, flags.overrides);
}

void log_unknown(const Logger& log, const hcl::Report& report) {
  for (const hcl::UnknownKeys& unknown : report.unknown) {
    LOG_ERROR(log, "Unknown configuration detected", {"section", unknown.section},
              {"keys", unknown.joined()});
  }
}

Result<std::unique_ptr<MetricsRegistry>> open_metrics(const ServerConfig& config,
                                                      io::AsioLoop& loop, io::Workers& workers,
                                                      const Logger& log) {
  if (!config.telemetry.any_sink()) {
    return std::unique_ptr<MetricsRegistry>();
  }
  return MetricsRegistry::create(
      {.config = config.telemetry,
       .service_name = "spire_server",
       .trust_domain = config.trust_domain.name(),
       .host_name = local_host_name()},
      {.loop = loop, .log = log.subsystem("telemetry"), .workers = &workers});
}

// From the configuration to the end of the process.
Result<void> serve(ServerConfig config, const Logger& log, const kube::Environment& variable) {
  if (::mkdir(config.section.data_dir.c_str(), 0755) != 0 && errno != EEXIST) {
    return errno_error(errno, fmt::format("create data directory \"{}\"", config.section.data_dir));
  }
  Stores stores = TRY(open_stores(config));
  io::AsioLoop loop;
  io::SocketNetwork network;
  auto handshake = tls::openssl_handshake();
  auto workers =
      std::make_unique<io::WorkerPool>(io::WorkerPool::Options{.threads = kWorkerThreads});
  auto metrics = TRY(open_metrics(config, loop, *workers, log));
  kube::CurlTransport kube_transport(loop);
  auto server =
      TRY(Server::start(std::move(config), std::move(stores),
                        {.loop = loop,
                         .workers = *workers,
                         .network = network,
                         .handshake = *handshake,
                         .clock = system_clock(),
                         .random = system_random(),
                         .log = log,
                         .metrics = metrics.get(),
                         .kube = kube::LazyClientDeps{.loop = loop,
                                                      .transport = &kube_transport,
                                                      .environment = variable,
                                                      .options = {.user_agent = "spire-server"}}}));
  cli::give_back_start_memory(loop);
  bool stopping = false;
  loop.on_signals({SIGINT, SIGTERM, SIGUSR1, SIGUSR2}, [&](int signal) {
    if (signal == SIGUSR2) {
      if (auto reopened = log.reopen(); !reopened.ok()) {
        LOG_ERROR(log, "Failed to reopen the log file", {"error", reopened.error()});
      }
    } else if (signal == SIGUSR1) {
      if (metrics) {
        metrics->dump_in_memory();
      }
    } else if (!stopping) {
      stopping = true;
      server->stop([&loop] { loop.stop(); });
    } else {
      loop.stop();
    }
  });
  loop.run();
  // Workers first: what they run uses the server, and what they post nobody runs any more.
  workers.reset();
  server.reset();
  return {};
}

int run(const RunFlags& flags, cli::Environment& environment) {
  std::vector<std::string> not_hardened = cli::harden_process({});
  LoadResult loaded = load(flags);
  LogConfig log_config = loaded.config ? loaded.config->section.log : LogConfig{};
  Result<Logger> opened = open_log(log_config, system_clock());
  if (!opened.ok()) {
    environment.err << opened.error().message << "\n";
    return 1;
  }
  Logger log = std::move(*opened);
  log_unknown(log, loaded.report);
  if (loaded.error) {
    environment.err << loaded.error->message << "\n";
    return 1;
  }
  for (const std::string& text : not_hardened) {
    LOG_WARN(log, text);
  }
  if (auto checked = check_plugins(*loaded.config); !checked.ok()) {
    LOG_ERROR(log, "Fatal run error", {"error", checked.error()});
    return 1;
  }
  Result<void> served = serve(std::move(*loaded.config), log, environment.variable);
  if (!served.ok()) {
    LOG_ERROR(log, "Fatal run error", {"error", served.error()});
    LOG_ERROR(log, "Server crashed", {"error", served.error()});
    return 1;
  }
  LOG_INFO(log, "Server stopped gracefully");
  return 0;
}

int validate(const RunFlags& flags, cli::Environment& environment) {
  LoadResult loaded = load(flags);
  if (!loaded.error) {
    if (auto checked = check_plugins(*loaded.config); !checked.ok()) {
      loaded.error = std::move(checked.error());
    }
  }
  if (loaded.error) {
    environment.err << "SPIRE server configuration file is invalid: " << loaded.error->message
                    << "\n";
    for (const hcl::UnknownKeys& unknown : loaded.report.unknown) {
      for (const hcl::Problem& place : unknown.places) {
        environment.err << "\t" << loaded.report.text(place) << "\n";
      }
    }
    return 1;
  }
  environment.out << "SPIRE server configuration file is valid.\n";
  return 0;
}

}  // namespace

cli::Command run_command() {
  return cli::command<RunFlags>("run", "Runs the server", bind, run, {.repeat_flag_error = true});
}

cli::Command validate_command() {
  return cli::command<RunFlags>("validate", "Validates a SPIRE server configuration file", bind,
                                validate, {.repeat_flag_error = true});
}

}  // namespace steeple::server
