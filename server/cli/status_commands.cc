// SPDX-License-Identifier: Apache-2.0

// `healthcheck`, `logger get|set|reset` and `debug getinfo`: how the server is, and how much it
// says.

#include <fmt/format.h>

#include <ostream>

#include "grpc/health/v1/health.pb.h"
#include "lib/base/clock.h"
#include "lib/telemetry/log.h"
#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "spire/api/server/debug/v1/debug.pb.h"
#include "spire/api/server/logger/v1/logger.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::logger::v1;  // NOLINT(google-build-using-namespace): messages
using ProtoLogger = spire::api::types::Logger;
using spire::api::server::debug::v1::GetInfoRequest;
using spire::api::server::debug::v1::GetInfoResponse;

// --- healthcheck
// ----------------------------------------------------------------------------------

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

// --- logger
// ---------------------------------------------------------------------------------------

struct SetFlags : ClientFlags {
  std::string level;
};

void bind_set(cli::FlagSet& flags, SetFlags& to) {
  bind_client(flags, to);
  flags.add("level", &to.level,
            "The new log level, one of (panic, fatal, error, warn, info, debug, trace, launch)");
}

void bind_plain(cli::FlagSet& flags, ClientFlags& to) { bind_client(flags, to); }

std::string level_name(spire::api::types::LogLevel level) {
  if (level <= spire::api::types::LogLevel::UNSPECIFIED ||
      level > spire::api::types::LogLevel::TRACE) {
    return "unspecified";
  }
  return std::string(log_level_name(static_cast<LogLevel>(level - 1)));
}

Result<void> print_logger(const ProtoLogger& logger, cli::Environment& environment) {
  environment.out << fmt::format("Logger Level : {}\nLaunch Level : {}\n\n",
                                 level_name(logger.current_level()),
                                 level_name(logger.launch_level()));
  return {};
}

template <class Request>
Result<void> call_logger(const ClientFlags& flags, std::string_view name, const Request& request,
                         std::string_view doing, cli::Environment& environment) {
  auto client = TRY(ServerClient::connect(flags, environment));
  auto logger = TRY(
      client.call<ProtoLogger>(fmt::format("/spire.api.server.logger.v1.Logger/{}", name), request)
          .during(doing));
  return cli::print(flags.output, environment, {&logger},
                    [&](cli::Environment& env) { return print_logger(logger, env); });
}

Result<void> get_logger(const ClientFlags& flags, cli::Environment& environment) {
  return call_logger(flags, "GetLogger", GetLoggerRequest(), "error fetching logger", environment);
}

Result<void> reset_logger(const ClientFlags& flags, cli::Environment& environment) {
  return call_logger(flags, "ResetLogLevel", ResetLogLevelRequest(), "failed to reset logger",
                     environment);
}

Result<void> set_logger(const SetFlags& flags, cli::Environment& environment) {
  if (flags.level.empty()) {
    return invalid_argument("a value (-level) must be set");
  }
  if (flags.level == "launch") {
    return reset_logger(flags, environment);
  }
  auto level = parse_log_level(flags.level);
  if (!level.ok()) {
    return invalid_argument(fmt::format("the value {} is not a valid setting", quote(flags.level)));
  }
  SetLogLevelRequest request;
  request.set_new_level(static_cast<spire::api::types::LogLevel>(static_cast<int>(*level) + 1));
  return call_logger(flags, "SetLogLevel", request, "failed to set logger", environment);
}

// --- debug
// ----------------------------------------------------------------------------------------

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
                                            bind_health, healthcheck, {.flag_set_name = "health"}));
  table.push_back(
      cli::command<ClientFlags>("logger get", "Gets the logger details", bind_plain, get_logger));
  table.push_back(
      cli::command<SetFlags>("logger set", "Sets the logger details", bind_set, set_logger));
  table.push_back(cli::command<ClientFlags>(
      "logger reset", "Reset the logger details to launch level", bind_plain, reset_logger));
  table.push_back(
      cli::command<ClientFlags>("debug getinfo", "Get debug information", bind_plain, get_info));
}

}  // namespace steeple::server
