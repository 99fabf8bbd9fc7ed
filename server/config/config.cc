// SPDX-License-Identifier: Apache-2.0

#include "server/config/config.h"

#include <fmt/format.h>

#include <array>

#include "lib/hcl/parse.h"

namespace steeple::server {
namespace {

using std::chrono::hours;

// SVIDs must end before the CA that signs them is replaced: the next CA is activated when a sixth
// of the lifetime, at most 7 days, is left.
Duration svid_ttl_max(Duration ca_ttl) { return std::min<Duration>(ca_ttl / 6, hours(24 * 7)); }

void apply(const Overrides& from, ServerSection& to) {
  auto set = [](std::string& slot, const std::string& value) {
    if (!value.empty()) {
      slot = value;
    }
  };
  set(to.bind_address, from.bind_address);
  set(to.data_dir, from.data_dir);
  set(to.log.file, from.log_file);
  set(to.log.format, from.log_format);
  set(to.log.level, from.log_level);
  set(to.socket_path, from.socket_path);
  set(to.trust_domain, from.trust_domain);
  if (from.bind_port != 0) {
    to.bind_port = from.bind_port;
  }
  to.log.source_location = to.log.source_location || from.log_source_location;
}

Result<void> check_required(const ServerFile& file, const ServerSection& section) {
  if (section.bind_address.empty() || section.bind_port == 0) {
    return invalid_argument("bind_address and bind_port must be configured");
  }
  if (section.trust_domain.empty()) {
    return invalid_argument("trust_domain must be configured");
  }
  if (section.data_dir.empty()) {
    return invalid_argument("data_dir must be configured");
  }
  if (!file.plugins) {
    return invalid_argument("plugins section must be configured");
  }
  return {};
}

// What this build does not serve must not look as if it were in force.
Result<void> check_not_built(const ServerSection& section) {
  const ExperimentalConfig& experimental = section.experimental;
  auto refuse = [](std::string_view key, std::string_view why) {
    return Error{Code::kUnimplemented, fmt::format("{}: {}", key, why)};
  };
  if (section.profiling_enabled) {
    return refuse("server.profiling_enabled", "profiling is not built yet");
  }
  if (experimental.auth_opa_policy_engine) {
    return refuse("server.experimental.auth_opa_policy_engine",
                  "custom authorization policies are not built yet");
  }
  if (experimental.require_pq_kem) {
    return refuse("server.experimental.require_pq_kem",
                  "the OpenSSL of this system has no post-quantum key exchange");
  }
  if (!experimental.wit_key_type.empty() || !experimental.wit_issuer.empty()) {
    return refuse("server.experimental.wit_key_type", "WIT-SVIDs are not built yet");
  }
  if (!experimental.named_pipe_name.empty()) {
    return refuse("server.experimental.named_pipe_name",
                  "configuration: named_pipe_name is not supported in this platform");
  }
  for (const std::string& flag : experimental.feature_flags) {
    if (flag != "i_am_a_test_flag") {
      return refuse("server.experimental.feature_flags",
                    flag == "wit-svid" ? "WIT-SVIDs are not built yet"
                                       : fmt::format("unknown feature flag(s): [{}]", flag));
    }
  }
  if (experimental.event_timeout && experimental.sql_transaction_timeout) {
    return invalid_argument(
        "both experimental sql_transaction_timeout and event_timeout set, only set event_timeout");
  }
  return {};
}

void warn_about_ttls(ServerConfig& config) {
  Duration ca_ttl = config.section.ca_ttl;
  auto check = [&](std::string_view name, Duration ttl, bool given) {
    if (ttl <= svid_ttl_max(ca_ttl)) {
      return;
    }
    std::string what = given ? fmt::format("{} is too high for the configured ca_ttl value", name)
                             : fmt::format("The default {} is too high for the ca_ttl value", name);
    config.warnings.push_back(fmt::format(
        "{}. SVIDs with shorter lifetimes may be issued. Please set {} to {} or less, or the "
        "ca_ttl to {} or more, to guarantee the full {} lifetime when CA rotations are scheduled.",
        what, name, format_go_duration(svid_ttl_max(ca_ttl)), format_go_duration(ttl * 6), name));
  };
  check("agent_ttl", config.agent_ttl(), config.section.agent_ttl.has_value());
  check("default_x509_svid_ttl", config.section.default_x509_svid_ttl, true);
  check("default_jwt_svid_ttl", config.section.default_jwt_svid_ttl, true);
}

Result<std::vector<spiffe::SpiffeId>> parse_admin_ids(const std::vector<std::string>& texts) {
  std::vector<spiffe::SpiffeId> ids;
  ids.reserve(texts.size());
  for (const std::string& text : texts) {
    ids.push_back(TRY(spiffe::SpiffeId::parse(text).during(
        fmt::format("could not parse admin ID \"{}\"", text))));
  }
  return ids;
}

}  // namespace

Result<ServerConfig> build_config(const hcl::Value& document, const Overrides& overrides,
                                  hcl::Report& report) {
  ServerFile file = schema().decode(document, report);
  TRY(report.result(false));
  if (!file.server) {
    return invalid_argument("server section must be configured");
  }
  apply(overrides, *file.server);
  TRY(check_required(file, *file.server));
  TRY(check_not_built(*file.server));
  TRY(check_telemetry(file.telemetry));
  auto domain = TRY(
      spiffe::TrustDomain::parse(file.server->trust_domain)
          .during(fmt::format("could not parse trust_domain \"{}\"", file.server->trust_domain)));
  auto admin_ids = TRY(parse_admin_ids(file.server->admin_ids));
  std::vector<hcl::PluginConfig> plugins = hcl::decode_plugins(*file.plugins, report);
  TRY(report.result(false));
  if (!report.unknown.empty()) {
    return invalid_argument("unknown configuration detected");
  }
  ServerConfig config{.section = std::move(*file.server),
                      .trust_domain = std::move(domain),
                      .admin_ids = std::move(admin_ids),
                      .plugins = std::move(plugins),
                      .telemetry = std::move(file.telemetry),
                      .health_checks = std::move(file.health_checks),
                      .warnings = {}};
  for (const hcl::Problem& warning : report.warnings) {
    config.warnings.push_back(report.text(warning));
  }
  warn_about_ttls(config);
  if (config.section.federation) {
    TRY(check_federation(*config.section.federation, config.warnings));
  }
  return config;
}

LoadResult load_config(const std::string& path, bool expand_env, const Overrides& overrides) {
  LoadResult out;
  out.report.file = path;
  auto document =
      hcl::load_file(path, {.expand_env = expand_env, .environment = hcl::process_environment()});
  if (!document.ok()) {
    out.error = std::move(document.error());
    return out;
  }
  auto config = build_config(*document, overrides, out.report);
  if (config.ok()) {
    out.config = std::move(*config);
  } else {
    out.error = std::move(config.error());
  }
  return out;
}

}  // namespace steeple::server
