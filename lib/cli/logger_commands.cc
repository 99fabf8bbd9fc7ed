// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/logger_commands.h"

#include <fmt/format.h>

#include <ostream>

#include "lib/cli/flags.h"
#include "lib/cli/printer.h"
#include "lib/telemetry/log.h"
// The agent's messages have the same fields.
#include "spire/api/server/logger/v1/logger.pb.h"

namespace steeple::cli {
namespace {

using namespace spire::api::server::logger::v1;  // NOLINT(google-build-using-namespace): messages
using ProtoLogger = spire::api::types::Logger;
using ProtoLevel = spire::api::types::LogLevel;

struct Flags {
  SocketFlags socket;
  Output output;
  std::string level;
};

std::string level_name(ProtoLevel level) {
  if (level <= ProtoLevel::UNSPECIFIED || level > ProtoLevel::TRACE) {
    return "unspecified";
  }
  return std::string(log_level_name(static_cast<LogLevel>(level - 1)));
}

template <class Request>
Result<void> call(const LoggerCommands& which, const Flags& flags, std::string_view name,
                  const Request& request, Environment& environment) {
  std::string path = TRY(resolve_socket(flags.socket, which.socket, environment));
  SocketClient client(std::move(path), {.target_in_errors = which.target_in_errors});
  auto logger = TRY(client.call<ProtoLogger>(which.service + std::string(name), request));
  return print(flags.output, environment, {&logger}, [&](Environment& env) -> Result<void> {
    env.out << fmt::format("Logger Level : {}\nLaunch Level : {}\n\n",
                           level_name(logger.current_level()), level_name(logger.launch_level()));
    return {};
  });
}

Result<void> set_level(const LoggerCommands& which, const Flags& flags, Environment& environment) {
  if (flags.level.empty()) {
    return invalid_argument("a value (-level) must be set");
  }
  auto level = parse_log_level(flags.level);
  if (!level.ok()) {
    return invalid_argument(fmt::format("the value {} is not a valid setting", quote(flags.level)));
  }
  SetLogLevelRequest request;
  request.set_new_level(static_cast<ProtoLevel>(static_cast<int>(*level) + 1));
  return call(which, flags, "SetLogLevel", request, environment);
}

Command make(const LoggerCommands& which, std::string name, std::string synopsis, bool with_level,
             std::function<Result<void>(const Flags&, Environment&)> run) {
  auto bind = [which, with_level](FlagSet& flags, Flags& to) {
    to.socket.path = which.socket.default_path;
    flags.add("socketPath", &to.socket.path, which.socket_help);
    if (!which.instance_help.empty()) {
      flags.add("instance", &to.socket.instance, which.instance_help);
    }
    add_output_flag(flags, to.output);
    if (with_level) {
      flags.add("level", &to.level,
                "The new log level, one of (panic, fatal, error, warn, info, debug, trace)");
    }
  };
  auto finished = [run = std::move(run)](const Flags& flags, Environment& environment) {
    return detail::finish(run(flags, environment), environment);
  };
  return detail::make_command<Flags>(std::move(name), std::move(synopsis), bind, finished, {});
}

}  // namespace

void add_logger_commands(std::vector<Command>& table, const LoggerCommands& which) {
  table.push_back(make(which, "logger get", "Gets the logger details", false,
                       [which](const Flags& flags, Environment& environment) {
                         return call(which, flags, "GetLogger", GetLoggerRequest(), environment);
                       }));
  table.push_back(make(which, "logger set", "Sets the logger details", true,
                       [which](const Flags& flags, Environment& environment) {
                         return set_level(which, flags, environment);
                       }));
  table.push_back(make(which, "logger reset", "Reset the logger details to launch level", false,
                       [which](const Flags& flags, Environment& environment) {
                         return call(which, flags, "ResetLogLevel", ResetLogLevelRequest(),
                                     environment);
                       }));
}

}  // namespace steeple::cli
