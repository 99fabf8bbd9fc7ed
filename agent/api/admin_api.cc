// SPDX-License-Identifier: Apache-2.0

#include "agent/api/admin_api.h"

#include <algorithm>

#include "lib/x509/verify.h"
#include "spire/api/agent/debug/v1/debug.pb.h"
#include "spire/api/agent/logger/v1/logger.pb.h"

namespace steeple::agent {

namespace debug_v1 = ::spire::agent::debug::v1;
namespace logger_v1 = ::spire::api::agent::logger::v1;
namespace types = ::spire::api::types;

namespace {

std::int32_t clamp32(std::int64_t value) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, 0, INT32_MAX));
}

types::LogLevel to_proto(LogLevel level) {
  return static_cast<types::LogLevel>(static_cast<int>(level) + 1);
}

}  // namespace

class AdminApi::Core {
 public:
  explicit Core(Deps deps) : deps_(std::move(deps)), started_(deps_.clock.steady()) {
    LOG_INFO(deps_.log, "Logger service configured",
             {"launch_log_level", log_level_name(deps_.log.launch_level())});
  }

  Result<debug_v1::GetInfoResponse> info() {
    SteadyTime now = deps_.clock.steady();
    if (!info_ || now - info_at_ >= Duration(kDebugInfoAge)) {
      info_ = TRY(make_info(now));
      info_at_ = now;
    }
    return *info_;
  }

  Result<types::Logger> set_level(const logger_v1::SetLogLevelRequest& request) {
    if (request.new_level() == types::UNSPECIFIED) {
      LOG_ERROR(deps_.log, "Invalid argument: newLevel value cannot be LogLevel_UNSPECIFIED");
      return invalid_argument("newLevel value cannot be LogLevel_UNSPECIFIED");
    }
    if (!types::LogLevel_IsValid(request.new_level())) {
      LOG_ERROR(deps_.log, "Invalid argument: unsupported log level");
      return invalid_argument("unsupported log level");
    }
    auto level = static_cast<LogLevel>(static_cast<int>(request.new_level()) - 1);
    LOG_INFO(deps_.log, "SetLogLevel Called", {"new_log_level", log_level_name(level)});
    deps_.log.set_level(level);
    return levels();
  }

  types::Logger get_level() {
    LOG_INFO(deps_.log, "GetLogger Called");
    return levels();
  }

  types::Logger reset_level() {
    LOG_INFO(deps_.log, "ResetLogLevel Called",
             {"launch_log_level", log_level_name(deps_.log.launch_level())});
    deps_.log.reset_level();
    return levels();
  }

 private:
  types::Logger levels() const {
    types::Logger out;
    out.set_current_level(to_proto(deps_.log.level()));
    out.set_launch_level(to_proto(deps_.log.launch_level()));
    return out;
  }

  Result<debug_v1::GetInfoResponse> make_info(SteadyTime now) const {
    auto authorities = deps_.identity.authorities();
    auto verified = x509::verify_svid(
        deps_.identity.svid()->chain, [&](const spiffe::TrustDomain&) { return authorities; },
        deps_.clock.now());
    if (!verified.ok()) {
      LOG_ERROR(deps_.log, "Failed to verify agent SVID", {"error", verified.error()});
      return internal("failed to verify agent SVID: " + verified.error().message);
    }
    debug_v1::GetInfoResponse out;
    for (const x509::CertificatePtr& certificate : verified->path) {
      auto* shown = out.add_svid_chain();
      auto id = x509::id_from_certificate(*certificate);
      if (id.ok()) {
        shown->mutable_id()->set_trust_domain(std::string(id->trust_domain_name()));
        shown->mutable_id()->set_path(std::string(id->path()));
      }
      shown->set_expires_at(to_unix_seconds(certificate->not_after()));
      auto subject = certificate->subject_name();
      shown->set_subject(subject.ok() ? subject->to_string() : std::string());
    }
    auto uptime = std::chrono::duration_cast<std::chrono::seconds>(now - started_).count();
    auto svids = clamp32(static_cast<std::int64_t>(deps_.cache.svid_count()));
    out.set_uptime(clamp32(uptime));
    // svids_count (field 3): its setter is deprecated, clients still read it.
    out.GetReflection()->SetInt32(&out, out.GetDescriptor()->FindFieldByNumber(3), svids);
    out.set_cached_x509_svids_count(svids);
    out.set_cached_jwt_svids_count(clamp32(static_cast<std::int64_t>(deps_.tokens.size())));
    auto last = deps_.last_sync();
    out.set_last_sync_success(last ? to_unix_seconds(*last) : 0);
    return out;
  }

  Deps deps_;
  SteadyTime started_;
  std::optional<debug_v1::GetInfoResponse> info_;
  SteadyTime info_at_{};
};

AdminApi::AdminApi(Deps deps) : core_(std::make_shared<Core>(std::move(deps))) {}

AdminApi::~AdminApi() = default;

void AdminApi::add_to(rpc::Server& server) {
  using rpc::CallContext;
  constexpr auto kLoop = rpc::Where::kLoop;
  rpc::add_unary<debug_v1::GetInfoRequest, debug_v1::GetInfoResponse>(
      server, "/spire.agent.debug.v1.Debug/GetInfo", kLoop,
      [core = core_](CallContext&, const debug_v1::GetInfoRequest&) { return core->info(); });
  rpc::add_unary<logger_v1::GetLoggerRequest, types::Logger>(
      server, "/spire.api.agent.logger.v1.Logger/GetLogger", kLoop,
      [core = core_](CallContext&, const logger_v1::GetLoggerRequest&) -> Result<types::Logger> {
        return core->get_level();
      });
  rpc::add_unary<logger_v1::SetLogLevelRequest, types::Logger>(
      server, "/spire.api.agent.logger.v1.Logger/SetLogLevel", kLoop,
      [core = core_](CallContext&, const logger_v1::SetLogLevelRequest& request) {
        return core->set_level(request);
      });
  rpc::add_unary<logger_v1::ResetLogLevelRequest, types::Logger>(
      server, "/spire.api.agent.logger.v1.Logger/ResetLogLevel", kLoop,
      [core = core_](CallContext&, const logger_v1::ResetLogLevelRequest&)
          -> Result<types::Logger> { return core->reset_level(); });
  server.describe(debug_v1::GetInfoRequest::descriptor()->file()->service(0));
  server.describe(logger_v1::GetLoggerRequest::descriptor()->file()->service(0));
}

}  // namespace steeple::agent
