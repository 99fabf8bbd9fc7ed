// SPDX-License-Identifier: Apache-2.0

// `healthcheck`, `debug getinfo` and `logger …`.

#include <fmt/format.h>

#include <ostream>

#include "agent/cli/client.h"
#include "agent/cli/commands.h"
#include "grpc/health/v1/health.pb.h"
#include "lib/cli/logger_commands.h"
#include "spire/api/agent/debug/v1/debug.pb.h"

namespace steeple::agent {
namespace {

using spire::agent::debug::v1::GetInfoRequest;
using spire::agent::debug::v1::GetInfoResponse;

// --- healthcheck ---

struct HealthFlags : WorkloadFlags {
  bool shallow = false;
  bool verbose = false;
};

void bind_health(cli::FlagSet& flags, HealthFlags& to) {
  to.socket.path = cli::agent_socket().default_path;
  flags.add("socketPath", &to.socket.path, "Path to the SPIRE Agent API socket");
  flags.add("instance", &to.socket.instance,
            "Instance name to substitute into socket templates (env "
            "SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE).");
  flags.add("shallow", &to.shallow, "Perform a less stringent health check");
  flags.add("verbose", &to.verbose, "Print verbose information");
}

Result<void> healthcheck(const HealthFlags& flags, cli::Environment& environment) {
  if (flags.verbose) {
    environment.out << "Checking agent health...\n";
  }
  auto client = TRY(connect_workload(flags, flags.timeout, environment));
  auto response = client.call<grpc::health::v1::HealthCheckResponse>(
      "/grpc.health.v1.Health/Check", grpc::health::v1::HealthCheckRequest());
  if (!response.ok()) {
    if (flags.verbose) {
      environment.err << "Failed to check health: " << response.error().message << "\n";
    }
    return unavailable("Agent is unhealthy: unable to determine health");
  }
  if (response->status() != grpc::health::v1::HealthCheckResponse::SERVING) {
    return unavailable(
        fmt::format("Agent is unhealthy: agent returned status \"{}\"",
                    grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response->status())));
  }
  environment.out << "Agent is healthy.\n";
  return {};
}

int run_health(const HealthFlags& flags, cli::Environment& environment) {
  return finish_plain(healthcheck(flags, environment), environment);
}

// --- debug ---

struct AdminFlags {
  cli::SocketFlags socket;
  cli::Output output;
};

void bind_admin(cli::FlagSet& flags, AdminFlags& to) {
  to.socket.path = cli::agent_admin_socket().default_path;
  flags.add("socketPath", &to.socket.path, "Path to the SPIRE Agent admin API socket");
  cli::add_output_flag(flags, to.output);
}

void print_info(const GetInfoResponse& info, std::ostream& out) {
  auto line = [&out](std::string_view label, const std::string& value) {
    out << fmt::format("  {:<33}{}\n", label, value);
  };
  out << "Agent Debug Info:\n";
  line("Uptime:", format_go_duration(std::chrono::seconds(info.uptime())));
  line("Last Sync Success:", format_rfc3339(from_unix_seconds(info.last_sync_success())));
  line("Cached X.509 SVIDs:", fmt::format("{}", info.cached_x509_svids_count()));
  line("Cached JWT SVIDs:", fmt::format("{}", info.cached_jwt_svids_count()));
  line("Cached SVID Store X.509 SVIDs:",
       fmt::format("{}", info.cached_svidstore_x509_svids_count()));
  out << "  SVID Chain:\n";
  for (int i = 0; i < info.svid_chain_size(); ++i) {
    const auto& certificate = info.svid_chain(i);
    out << fmt::format("    [{}] SPIFFE ID:  spiffe://{}{}\n", i, certificate.id().trust_domain(),
                       certificate.id().path());
    out << fmt::format("        Subject:    {}\n        Expires At: {}\n", certificate.subject(),
                       format_rfc3339(from_unix_seconds(certificate.expires_at())));
  }
}

Result<void> get_info(const AdminFlags& flags, cli::Environment& environment) {
  std::string path = TRY(cli::resolve_socket(flags.socket, cli::agent_admin_socket(), environment));
  cli::SocketClient client(std::move(path), {});
  auto info =
      TRY(client.call<GetInfoResponse>("/spire.agent.debug.v1.Debug/GetInfo", GetInfoRequest())
              .during("failed to get debug info"));
  return cli::print(flags.output, environment, {&info}, [&](cli::Environment& env) -> Result<void> {
    print_info(info, env.out);
    return {};
  });
}

}  // namespace

void add_status_commands(std::vector<cli::Command>& table) {
  table.push_back(cli::command<HealthFlags>("healthcheck", "Determines agent health status",
                                            bind_health, run_health,
                                            {.flag_set_name = "health", .bare_help = true}));
  table.push_back(cli::command<AdminFlags>(
      "debug getinfo", "Prints debug information about the agent", bind_admin, get_info));
  cli::add_logger_commands(table, {.socket = cli::agent_admin_socket(),
                                   .socket_help = "Path to the SPIRE Agent admin API socket",
                                   .instance_help = {},
                                   .service = "/spire.api.agent.logger.v1.Logger/"});
}

}  // namespace steeple::agent
