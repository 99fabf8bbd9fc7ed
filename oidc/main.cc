// SPDX-License-Identifier: Apache-2.0

// oidc-discovery-provider: reads flags and configuration, then serves until it is told to stop.

#include <fmt/format.h>
#include <signal.h>

#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "lib/cli/daemon.h"
#include "lib/cli/environment.h"
#include "lib/cli/flags.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/telemetry/log_output.h"
#include "oidc/provider.h"
#include "oidc/version.h"

namespace steeple::oidc {
namespace {

constexpr int kFlagError = 2;  // as Go's flag package exits
constexpr std::size_t kWorkers = 1;

struct Flags {
  std::string config = "oidc-discovery-provider.conf";
  bool expand_env = false;
  bool version = false;
};

void bind(cli::FlagSet& flags, Flags& to) {
  flags.add("config", &to.config, "configuration file");
  flags.add("expandEnv", &to.expand_env, "expand environment variables in config file");
  flags.add("version", &to.version, "print version");
}

Result<void> serve(ProviderConfig config, const Logger& log) {
  io::AsioLoop loop;
  io::SocketNetwork network;
  auto workers = std::make_unique<io::WorkerPool>(io::WorkerPool::Options{.threads = kWorkers});
  auto handshake = tls::openssl_handshake();
  std::shared_ptr<spiffe::Client> client;
  if (config.workload_api) {
    client = TRY(spiffe::Client::make({.address = "unix://" + config.workload_api->socket_path}));
  }
  auto provider =
      std::make_unique<Provider>(std::move(config), Provider::Deps{.loop = loop,
                                                                   .workers = *workers,
                                                                   .network = network,
                                                                   .handshake = *handshake,
                                                                   .random = system_random(),
                                                                   .client = std::move(client),
                                                                   .log = log});
  bool stopping = false;
  loop.on_signals({SIGINT, SIGTERM, SIGUSR2}, [&](int signal) {
    if (signal == SIGUSR2) {
      if (auto reopened = log.reopen(); !reopened.ok()) {
        LOG_ERROR(log, "Failed to reopen the log file", {"error", reopened.error()});
      }
    } else if (!std::exchange(stopping, true)) {
      provider->stop([&loop] { loop.stop(); });
    } else {
      loop.stop();  // asked twice
    }
  });
  TRY(provider->start());
  loop.post([&loop] { cli::give_back_start_memory(loop); });
  loop.run();
  // Workers first: what they post nobody runs any more.
  workers.reset();
  provider.reset();
  return {};
}

int start(const Flags& values, cli::Environment& environment) {
  std::vector<std::string> not_hardened = cli::harden_process({});
  auto fail = [&](const Error& error) {
    environment.err << error.message << '\n';
    return 1;
  };
  auto config = load_config(values.config,
                            values.expand_env ? hcl::Environment(environment.variable) : nullptr);
  if (!config.ok()) {
    return fail(config.error());
  }
  Result<Logger> log =
      open_log({.file = config->log_path, .level = config->log_level, .format = config->log_format},
               system_clock());
  if (!log.ok()) {
    return fail(log.error());
  }
  for (const std::string& text : not_hardened) {
    LOG_WARN(*log, text);
  }
  for (const std::string& text : config->warnings) {
    LOG_WARN(*log, text);
  }
  if (config->allow_insecure_scheme) {
    LOG_WARN(
        *log,
        "allow_insecure_scheme is enabled: documents name HTTP URLs. Only enable this when the "
        "network path to the provider is trusted end-to-end");
  }
  if (config->log_requests) {
    LOG_INFO(*log, "Logging all requests");
  }
  if (Result<void> served = serve(std::move(*config), *log); !served.ok()) {
    LOG_ERROR(*log, "Provider crashed", {"error", served.error()});
    return fail(served.error());
  }
  LOG_INFO(*log, "Provider stopped gracefully");
  return 0;
}

int run(const std::string& program, std::span<const std::string> arguments,
        cli::Environment environment) {
  Flags values;
  cli::FlagSet flags(program);
  bind(flags, values);
  std::string printed;
  if (auto parsed = flags.parse(arguments, printed); !parsed.ok()) {
    environment.err << printed;
    return parsed.error().code == Code::kCancelled ? 0 : kFlagError;
  }
  if (values.version) {
    environment.out << kVersion << '\n';
    return 0;
  }
  if (!flags.rest().empty()) {
    environment.err << fmt::format("Error: unexpected arguments: [{}]\n{}",
                                   fmt::join(flags.rest(), " "), flags.usage());
    return 1;
  }
  return start(values, environment);
}

}  // namespace
}  // namespace steeple::oidc

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return steeple::oidc::run(argv[0], arguments, steeple::cli::process_environment());
}
