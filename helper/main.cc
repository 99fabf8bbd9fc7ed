// SPDX-License-Identifier: Apache-2.0

// spiffe-helper: reads flags and configuration, then runs as a daemon (helper.h) or once (once.h).

#include <fmt/format.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "helper/helper.h"
#include "helper/once.h"
#include "lib/cli/daemon.h"
#include "lib/cli/environment.h"
#include "lib/cli/flags.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/telemetry/log_output.h"

namespace steeple::helper {
namespace {

constexpr int kFlagError = 2;  // as Go's flag package exits
// Files need one; tokens are waited for while files are written.
constexpr std::size_t kWorkers = 1;
constexpr std::size_t kWorkersForTokens = 4;

// The process of a pid file may be another user's.
constexpr std::array kCapabilities = {CAP_KILL};

struct Flags {
  std::string config = "helper.conf";
  bool daemon_mode = true;
  bool version = false;
};

void bind(cli::FlagSet& flags, Flags& to) {
  flags.add("config", &to.config, "<configFile> Configuration file path");
  flags.add("daemon-mode", &to.daemon_mode,
            "Toggle running as a daemon to rotate X.509/JWT or just fetch and exit");
  flags.add("version", &to.version, "print version");
}

// As for every daemon, but a command keeps the rights and the umask that it was given.
void harden(const HelperConfig& config, const Logger& log) {
  if (config.cmd.empty()) {
    for (const std::string& text : cli::harden_process(kCapabilities)) {
      LOG_WARN(log, text);
    }
  } else if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    LOG_WARN(log, "cannot forbid core dumps");
  }
}

struct World {
  explicit World(std::size_t threads)
      : workers(std::make_unique<io::WorkerPool>(io::WorkerPool::Options{.threads = threads})) {}

  io::AsioLoop loop;
  io::SocketNetwork network;
  std::unique_ptr<io::WorkerPool> workers;
};

Result<void> run_once(const HelperConfig& config, World& world, const HelperDeps& deps) {
  Result<void> ended = cancelled("context canceled");
  Once once(config, deps, {}, [&](Result<void> why) {
    ended = std::move(why);
    world.loop.stop();
  });
  world.loop.on_signals({SIGINT, SIGTERM}, [&](int) { world.loop.stop(); });
  once.start();
  world.loop.run();
  world.workers.reset();
  return ended;
}

Result<void> run_daemon(const HelperConfig& config, World& world, const HelperDeps& deps) {
  Result<void> ended;
  auto helper = std::make_unique<Helper>(config, deps, HelperTimes{}, [&](Result<void> why) {
    ended = std::move(why);
    world.loop.stop();
  });
  bool stopping = false;
  std::vector<int> signals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
  if (::getpid() == 1) {
    signals.push_back(SIGCHLD);
  }
  world.loop.on_signals(signals, [&](int signal) {
    if (signal == SIGCHLD) {
      reap_orphans(helper->child_pid());
    } else if ((signal != SIGINT && signal != SIGTERM) || stopping) {
      helper->forward(signal);
    } else {
      stopping = true;
      helper->stop(signal);
    }
  });
  TRY(helper->start());
  world.loop.post([&world] { cli::give_back_start_memory(world.loop); });
  world.loop.run();
  // Workers first: what they run uses the helper, and what they post nobody runs any more.
  world.workers.reset();
  helper.reset();
  return ended;
}

Result<void> serve(const HelperConfig& config, const Logger& log) {
  World world(config.jwt_svids.empty() ? kWorkers : kWorkersForTokens);
  remove_leftovers(config);
  auto client = TRY(spiffe::Client::make({.address = config.agent_address}));
  HelperDeps deps{.loop = world.loop,
                  .workers = *world.workers,
                  .network = world.network,
                  .client = std::move(client),
                  .log = log};
  if (!config.daemon_mode) {
    LOG_INFO(log, "Daemon mode disabled");
    return run_once(config, world, deps);
  }
  LOG_INFO(log, "Launching daemon");
  return run_daemon(config, world, deps);
}

int start(const Flags& values, std::optional<bool> daemon_mode, cli::Environment& environment) {
  // Standard output is the command's.
  Result<Logger> opened = open_log_on(STDERR_FILENO, {}, system_clock());
  if (!opened.ok()) {
    environment.err << opened.error().message << '\n';
    return 1;
  }
  Logger log = opened->with({"system", "spiffe-helper"});
  LOG_INFO(log, fmt::format("Using configuration file: \"{}\"", values.config));
  Result<std::string> text = read_config(values.config);
  if (!text.ok()) {
    LOG_ERROR(log, "failed to parse configuration", {"error", text.error()});
    return 1;
  }
  Result<HelperConfig> config = parse_config(*text, daemon_mode, environment.variable);
  if (!config.ok()) {
    LOG_ERROR(log, "invalid configuration", {"error", config.error()});
    return 1;
  }
  for (const std::string& warning : config->warnings) {
    LOG_WARN(log, warning);
  }
  harden(*config, log);
  if (Result<void> served = serve(*config, log); !served.ok()) {
    LOG_ERROR(log, "Error starting spiffe-helper", {"error", served.error()});
    return 1;
  }
  LOG_INFO(log, "Exiting");
  return 0;
}

int run(std::span<const std::string> arguments, cli::Environment environment) {
  Flags values;
  cli::FlagSet flags("spiffe-helper");
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
  std::optional<bool> daemon_mode;
  if (flags.was_set("daemon-mode")) {
    daemon_mode = values.daemon_mode;
  }
  return start(values, daemon_mode, environment);
}

}  // namespace
}  // namespace steeple::helper

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return steeple::helper::run(arguments, steeple::cli::process_environment());
}
