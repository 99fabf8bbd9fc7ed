// SPDX-License-Identifier: Apache-2.0

// `healthcheck`, `logger get|set|reset` and `debug getinfo`: how the server is, and how much it
// says.

#include <fmt/format.h>

#include <ostream>

#include "grpc/health/v1/health.pb.h"
#include "lib/base/clock.h"
#include "lib/cli/logger_commands.h"
#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "spire/api/server/debug/v1/debug.pb.h"

namespace steeple::server {
namespace {

using spire::api::server::debug::v1::GetInfoRequest;
using spire::api::server::debug::v1::GetInfoResponse;

// --- healthcheck ---

struct HealthFlags : ClientFlags {
  bool shallow = false;
  bool verbose = false;
};

void bind_health(cli::FlagSet& flags, HealthFlags& to) {
  bind_client_without_output(flags, to);
  flags.add("shallow", &to.shallow, "Perform a less stringent health check");
  flags.add("verbose", &to.verbose, "Print verbose information");
}

Result<void> healthcheck(const HealthFlags& flags, cli::Environment& environment) {
  if (flags.verbose) {
    environment.out << "Checking server health...\n";
  }
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response = client.call<grpc::health::v1::HealthCheckResponse>(
      "/grpc.health.v1.Health/Check", grpc::health::v1::HealthCheckRequest());
  if (!response.ok()) {
    if (flags.verbose) {
      environment.err << "Failed to check health: " << response.error().message << "\n";
    }
    return unavailable("server is unhealthy: unable to determine health");
  }
  if (response->status() != grpc::health::v1::HealthCheckResponse::SERVING) {
    return unavailable(
        fmt::format("server is unhealthy: server returned status \"{}\"",
                    grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response->status())));
  }
  environment.out << "Server is healthy.\n";
  return {};
}

void bind_plain(cli::FlagSet& flags, ClientFlags& to) { bind_client(flags, to); }

// --- debug ---

Result<void> get_info(const ClientFlags& flags, cli::Environment& environment) {
  auto client = TRY(ServerClient::connect(flags, environment));
  auto info =
      TRY(client.call<GetInfoResponse>("/spire.api.server.debug.v1.Debug/GetInfo", GetInfoRequest())
              .during("failed to get debug info"));
  return cli::print(flags.output, environment, {&info}, [&](cli::Environment& env) -> Result<void> {
    env.out << "Server Debug Info:\n";
    auto line = [&env](std::string_view label, const std::string& value) {
      env.out << fmt::format("  {:<25}{}\n", label, value);
    };
    line("Uptime:", format_go_duration(std::chrono::seconds(info.uptime())));
    line("Registered Agents:", fmt::format("{}", info.agents_count()));
    line("Registration Entries:", fmt::format("{}", info.entries_count()));
    line("Federated Bundles:", fmt::format("{}", info.federated_bundles_count()));
    env.out << "  SVID Chain:\n";
    for (int i = 0; i < info.svid_chain_size(); ++i) {
      const auto& certificate = info.svid_chain(i);
      env.out << fmt::format(
          "    [{}] SPIFFE ID:  {}\n        Subject:    {}\n        Expires At: {}\n", i,
          id_text(certificate.id()), certificate.subject(),
          format_rfc3339(from_unix_seconds(certificate.expires_at())));
    }
    return {};
  });
}

}  // namespace

void add_status_commands(std::vector<cli::Command>& table) {
  table.push_back(cli::command<HealthFlags>("healthcheck", "Determines server health status",
                                            bind_health, healthcheck));
  cli::add_logger_commands(table,
                           {.socket = cli::server_socket(),
                            .socket_help = "Path to the SPIRE Server API socket",
                            .instance_help = "Instance name to substitute into socket templates "
                                             "(env SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE).",
                            .service = "/spire.api.server.logger.v1.Logger/",
                            .target_in_errors = true});
  table.push_back(cli::command<ClientFlags>(
      "debug getinfo", "Prints debug information about the server", bind_plain, get_info));
}

}  // namespace steeple::server
