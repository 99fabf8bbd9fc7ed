// SPDX-License-Identifier: Apache-2.0

// spire.api.server.logger.v1.Logger: the log level, seen and changed while the server runs.

#include "server/api/failure.h"
#include "server/api/services.h"
#include "spire/api/server/logger/v1/logger.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::logger::v1;  // NOLINT(google-build-using-namespace): messages
using ProtoLogger = spire::api::types::Logger;
using ProtoLevel = spire::api::types::LogLevel;

constexpr std::string_view kService = "/spire.api.server.logger.v1.Logger/";

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

// The protocol counts panic from 1 on; 0 is "unspecified".
ProtoLevel to_proto(LogLevel level) { return static_cast<ProtoLevel>(static_cast<int>(level) + 1); }

ProtoLogger state_of(const Logger& log) {
  ProtoLogger proto;
  proto.set_current_level(to_proto(log.level()));
  proto.set_launch_level(to_proto(log.launch_level()));
  return proto;
}

}  // namespace

void register_logger_service(Endpoint& endpoint, const ServiceDeps& deps) {
  Logger log = deps.log;
  static_assert(static_cast<int>(ProtoLevel::PANIC) == static_cast<int>(LogLevel::kPanic) + 1);
  static_assert(static_cast<int>(ProtoLevel::TRACE) == static_cast<int>(LogLevel::kTrace) + 1);
  LOG_INFO(log, "Logger service configured",
           {"launch_log_level", log_level_name(log.launch_level())});
  endpoint.unary<GetLoggerRequest, ProtoLogger>(
      method("GetLogger"), [log](Caller& caller, const auto&) -> Result<ProtoLogger> {
        LOG_INFO(caller.log(), "GetLogger Called");
        return state_of(log);
      });
  endpoint.unary<SetLogLevelRequest, ProtoLogger>(
      method("SetLogLevel"), [log](Caller& caller, const auto& request) -> Result<ProtoLogger> {
        if (request.new_level() == ProtoLevel::UNSPECIFIED) {
          return fail(caller, Code::kInvalidArgument,
                      "newLevel value cannot be LogLevel_UNSPECIFIED");
        }
        if (!spire::api::types::LogLevel_IsValid(request.new_level())) {
          return fail(caller, Code::kInvalidArgument, "unsupported log level");
        }
        auto level = static_cast<LogLevel>(request.new_level() - 1);
        LOG_INFO(caller.log(), "SetLogLevel Called", {"new_log_level", log_level_name(level)});
        log.set_level(level);
        return state_of(log);
      });
  endpoint.unary<ResetLogLevelRequest, ProtoLogger>(
      method("ResetLogLevel"), [log](Caller& caller, const auto&) -> Result<ProtoLogger> {
        LOG_INFO(caller.log(), "ResetLogLevel Called",
                 {"launch_log_level", log_level_name(log.launch_level())});
        log.reset_level();
        return state_of(log);
      });
  endpoint.server().describe(GetLoggerRequest::descriptor()->file()->FindServiceByName("Logger"));
}

}  // namespace steeple::server
