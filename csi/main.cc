// SPDX-License-Identifier: Apache-2.0

// spiffe-csi-driver: reads the flags and runs the driver (driver/driver.h) until a signal.

#include <fmt/format.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <array>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "csi/driver/driver.h"
#include "csi/driver/source_watch.h"
#include "lib/cli/daemon.h"
#include "lib/cli/environment.h"
#include "lib/cli/flags.h"
#include "lib/cli/privileges.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/telemetry/log_output.h"

namespace steeple::csi {
namespace {

constexpr mode_t kUmaskLeast = 0027;
constexpr int kFlagError = 2;  // as Go's flag package exits

struct Flags {
  DriverOptions options;
  std::string node_id_env = "MY_NODE_NAME";
  std::string log_level = "info";
  std::string log_format;
};

void bind(cli::FlagSet& flags, Flags& to) {
  DriverOptions& options = to.options;
  flags.add("node-id", &options.node_id,
            "Kubernetes Node ID. If unset, the node ID is obtained from the environment (i.e., "
            "-node-id-env)");
  flags.add("node-id-env", &to.node_id_env,
            "Envvar from which to obtain the node ID. Overridden by -node-id.");
  flags.add("csi-socket-path", &options.csi_socket_path, "Path to the CSI socket");
  flags.add("plugin-name", &options.plugin_name, "Plugin name to register");
  flags.add("workload-api-socket-dir", &options.workload_api_socket_dir,
            "Path to the Workload API socket directory");
  flags.add("kubelet-registration-path", &options.kubelet_registration_path,
            "Path of the CSI socket as the kubelet sees it. With -plugin-registration-socket the "
            "driver registers itself and needs no node-driver-registrar");
  flags.add("plugin-registration-socket", &options.plugin_registration_socket,
            "Path to the socket to make in the kubelet's plugins_registry folder");
  flags.add("health-port", &options.health_port,
            "TCP port that answers /healthz. If unset, none does");
  flags.add("shutdown-delay", &options.shutdown_delay,
            "How long to go on while volumes are left, so that pods which end together with the "
            "driver are unmounted");
  flags.add("log-level", &to.log_level, "'debug', 'info', 'warn', or 'error'");
  flags.add("log-format", &to.log_format, "'text' or 'json'");
}

std::string usage(const cli::FlagSet& flags) {
  return fmt::format(
      "spiffe-csi-driver (version {})\n"
      "Provides the Workload API socket directory via ephemeral inline CSI volumes\n\n{}",
      kVersion, flags.usage());
}

// As harden_process of the other daemons, but this one mounts: it keeps the right to, and its
// system calls.
void harden(const Logger& log) {
  ::umask(::umask(kUmaskLeast) | kUmaskLeast);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    LOG_WARN(log, "cannot forbid core dumps and new privileges");
  }
  constexpr std::array kKeep = {CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE};
  if (auto dropped = cli::keep_capabilities(kKeep); !dropped.ok()) {
    LOG_WARN(log, "cannot drop capabilities", {"error", dropped.error()});
  }
}

Result<void> serve(const DriverOptions& options, const Logger& log) {
  io::AsioLoop loop;
  io::SocketNetwork network;
  auto mounts = kernel_mounts();
  // One thread: mounts are made and removed one after the other.
  auto workers = std::make_unique<io::WorkerPool>(io::WorkerPool::Options{.threads = 1});
  Result<void> ended;
  auto driver = std::make_unique<Driver>(options,
                                         Driver::Deps{.loop = loop,
                                                      .workers = *workers,
                                                      .network = network,
                                                      .random = system_random(),
                                                      .mounts = *mounts,
                                                      .log = log},
                                         [&](Result<void> why) {
                                           ended = std::move(why);
                                           loop.stop();
                                         });
  TRY(driver->start());
  auto watch = SourceWatch::make(loop, options.workload_api_socket_dir,
                                 [&driver] { driver->source_changed(); });
  if (!watch.ok()) {
    LOG_WARN(log, "Changes of the Workload API socket directory are noticed late",
             {"error", watch.error()});
  }
  bool stopping = false;
  loop.on_signals({SIGINT, SIGTERM}, [&](int) {
    if (std::exchange(stopping, true)) {
      loop.stop();  // asked twice
    } else {
      driver->stop();
    }
  });
  loop.post([&loop] { cli::give_back_start_memory(loop); });
  loop.run();
  // Workers first: what they run uses the driver, and what they post nobody runs any more.
  workers.reset();
  if (watch.ok()) {
    watch->reset();
  }
  driver.reset();
  return ended;
}

int run(std::span<const std::string> arguments, cli::Environment environment) {
  Flags values;
  cli::FlagSet flags("");
  bind(flags, values);
  std::string printed;
  if (auto parsed = flags.parse(arguments, printed); !parsed.ok()) {
    if (parsed.error().code == Code::kCancelled) {
      environment.err << usage(flags);
      return 0;
    }
    environment.err << parsed.error().message << '\n' << usage(flags);
    return kFlagError;
  }
  Result<Logger> opened =
      open_log({.level = values.log_level, .format = values.log_format}, system_clock());
  if (!opened.ok()) {
    environment.err << "Unable to set up logger: " << opened.error().message << '\n';
    return 1;
  }
  const Logger& log = *opened;
  DriverOptions options = values.options;
  if (options.node_id.empty()) {
    options.node_id = environment.variable(values.node_id_env).value_or("");
  }
  LOG_INFO(log, "Starting.", {"version", kVersion}, {"nodeID", options.node_id},
           {"workloadAPISocketDir", options.workload_api_socket_dir},
           {"csiSocketPath", options.csi_socket_path});
  if (auto checked = check_options(options); !checked.ok()) {
    LOG_ERROR(log, "Failed to create driver", {"error", checked.error()});
    return 1;
  }
  harden(log);
  if (Result<void> served = serve(options, log); !served.ok()) {
    LOG_ERROR(log, "Failed to serve", {"error", served.error()});
    return 1;
  }
  LOG_INFO(log, "Done");
  return 0;
}

}  // namespace
}  // namespace steeple::csi

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return steeple::csi::run(arguments, steeple::cli::process_environment());
}
