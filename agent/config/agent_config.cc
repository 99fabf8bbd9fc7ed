// SPDX-License-Identifier: Apache-2.0

#include "agent/config/agent_config.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "agent/config/agent_file.h"
#include "lib/base/limits.h"
#include "lib/io/directory.h"
#include "lib/tls/pq_kem.h"

namespace steeple::agent {
namespace {

constexpr auto kAvailabilityTargetMin = std::chrono::hours(24);
constexpr auto kCacheHitTimeoutMin = std::chrono::seconds(5);
constexpr auto kCacheHitTimeoutMax = std::chrono::seconds(30);
constexpr std::size_t kDefaultCacheMax = 1000;
constexpr std::size_t kJoinTokenBytesMax = std::size_t{64} << 10;

void set(std::string& into, const std::string& given) {
  if (!given.empty()) {
    into = given;
  }
}

// Flag over file; defaults last.
void apply(const Overrides& flags, AgentSection& agent) {
  set(agent.data_dir, flags.data_dir);
  if (!flags.join_token.empty()) {
    agent.join_token = SecretBytes(flags.join_token);
  }
  set(agent.join_token_file, flags.join_token_file);
  set(agent.log.file, flags.log_file);
  set(agent.log.format, flags.log_format);
  set(agent.log.level, flags.log_level);
  set(agent.server_address, flags.server_address);
  set(agent.trust_domain, flags.trust_domain);
  set(agent.trust_bundle_path, flags.trust_bundle);
  set(agent.trust_bundle_url, flags.trust_bundle_url);
  set(agent.trust_bundle_format, flags.trust_bundle_format);
  set(agent.rebootstrap_mode, flags.rebootstrap_mode);
  set(agent.rebootstrap_delay, flags.rebootstrap_delay);
  set(agent.socket_path, flags.socket_path);
  if (flags.server_port != 0) {
    agent.server_port = flags.server_port;
  }
  agent.log.source_location |= flags.log_source_location;
  agent.disable_workload_api |= flags.disable_workload_api;
  agent.disable_sds_api |= flags.disable_sds_api;
  agent.allow_unauthenticated_verifiers |= flags.allow_unauthenticated_verifiers;
  agent.insecure_bootstrap |= flags.insecure_bootstrap;
  auto fill = [](std::string& into, std::string_view value) {
    if (into.empty()) {
      into = value;
    }
  };
  fill(agent.data_dir, ".");
  fill(agent.socket_path, kDefaultSocketPath);
  fill(agent.trust_bundle_format, "pem");
  fill(agent.rebootstrap_mode, "never");
}

Result<void> check_exclusive(const AgentSection& agent) {
  bool url = !agent.trust_bundle_url.empty();
  bool path = !agent.trust_bundle_path.empty();
  if (agent.insecure_bootstrap) {
    if (url && path) {
      return invalid_argument(
          "only one of insecure_bootstrap, trust_bundle_url, or trust_bundle_path can be "
          "specified, "
          "not the three options");
    }
    if (url) {
      return invalid_argument(
          "only one of insecure_bootstrap or trust_bundle_url can be specified, not both");
    }
    if (path) {
      return invalid_argument(
          "only one of insecure_bootstrap or trust_bundle_path can be specified, not both");
    }
  } else if (!url && !path) {
    return invalid_argument(
        "trust_bundle_path, trust_bundle_url, or trust_bundle_spiffe_workload_api must be "
        "configured unless insecure_bootstrap is set");
  }
  if (url && path) {
    return invalid_argument(
        "only one of trust_bundle_url or trust_bundle_path can be specified, not both");
  }
  return {};
}

Result<void> check_bundle_url(const AgentSection& agent) {
  const std::string& url = agent.trust_bundle_url;
  if (url.empty()) {
    return {};
  }
  if (agent.trust_bundle_unix_socket.empty()) {
    if (!url.starts_with("https://")) {
      return invalid_argument("trust bundle URL must start with https://");
    }
    return {};
  }
  if (!url.starts_with("http://")) {
    return invalid_argument(
        "trust bundle URL must start with http:// when used with trust bundle unix socket");
  }
  std::size_t at = url.find('?');
  while (at != std::string::npos) {
    for (std::string_view prefix : {"spiffe-", "spire-"}) {
      if (std::string_view(url).substr(at + 1).starts_with(prefix)) {
        return invalid_argument(
            fmt::format("trust_bundle_url query params can not start with {}", prefix));
      }
    }
    at = url.find('&', at + 1);
  }
  return {};
}

// The reference's agentConfig.validate, in its order.
Result<void> validate(const AgentSection& agent) {
  if (!agent.join_token.empty() && !agent.join_token_file.empty()) {
    return invalid_argument("only one of join_token or join_token_file can be specified, not both");
  }
  if (agent.server_address.empty()) {
    return invalid_argument("server_address must be configured");
  }
  if (agent.server_port == 0) {
    return invalid_argument("server_port must be configured");
  }
  if (agent.trust_domain.empty()) {
    return invalid_argument("trust_domain must be configured");
  }
  if (!agent.trust_bundle_spiffe_workload_api.empty()) {
    return unimplemented("trust_bundle_spiffe_workload_api is not supported by this agent");
  }
  TRY(check_exclusive(agent));
  if (agent.trust_bundle_format != "pem" && agent.trust_bundle_format != "spiffe") {
    return invalid_argument(
        "invalid value for trust_bundle_format, expected \"pem\" or \"spiffe\"");
  }
  if (!agent.trust_bundle_unix_socket.empty() && agent.trust_bundle_url.empty()) {
    return invalid_argument(
        "if trust_bundle_unix_socket is specified, so must be trust_bundle_url");
  }
  TRY(check_bundle_url(agent));
  if (agent.experimental && !agent.experimental->named_pipe_name.empty()) {
    return invalid_argument(
        "invalid configuration: named_pipe_name is not supported in this platform; please use "
        "socket_path instead");
  }
  if (agent.experimental && !agent.experimental->admin_named_pipe_name.empty()) {
    return invalid_argument(
        "invalid configuration: admin_named_pipe_name is not supported in this platform; please "
        "use admin_socket_path instead");
  }
  return {};
}

// What the reference has and this agent has not: never ignored.
Result<void> refuse_unbuilt(const AgentSection& agent) {
  const std::string& mode = agent.rebootstrap_mode;
  if (mode != "never" && mode != "auto" && mode != "always") {
    return invalid_argument(fmt::format("unknown rebootstrap mode specified: {}", mode));
  }
  if (mode != "never" && agent.insecure_bootstrap) {
    return invalid_argument("insecure_bootstrap option can not be used with rebootstrapping");
  }
  if (!agent.rebootstrap_delay.empty()) {
    TRY(parse_go_duration(agent.rebootstrap_delay)
            .during("error parsing rebootstrap delay duration"));
  }
  if (mode != "never") {
    return unimplemented(
        fmt::format("rebootstrap_mode \"{}\" is not supported by this agent; use \"never\"", mode));
  }
  if (!agent.authorized_delegates.empty()) {
    return unimplemented(
        "authorized_delegates: the Delegated Identity API is not supported by this agent");
  }
  if (agent.profiling_enabled) {
    return unimplemented("profiling_enabled: profiling is not supported by this agent");
  }
  if (agent.experimental && agent.experimental->broker) {
    return unimplemented(
        "experimental.broker: the SPIFFE Broker API is not supported by this agent");
  }
  TRY(tls::check_pq_kem(agent.experimental && agent.experimental->require_pq_kem));
  return {};
}

Result<void> check_feature_flags(const std::vector<std::string>& flags) {
  std::vector<std::string> bad;
  std::copy_if(flags.begin(), flags.end(), std::back_inserter(bad), [](const std::string& flag) {
    return flag != "wit-svid" && flag != "i_am_a_test_flag";
  });
  if (!bad.empty()) {
    std::sort(bad.begin(), bad.end());
    return invalid_argument(fmt::format(
        "error loading feature flags: unknown feature flag(s): [{}]", fmt::join(bad, " ")));
  }
  return {};
}

Result<void> check_rate_limits(const RateLimits& limits) {
  const std::pair<const char*, int> all[] = {
      {"fetch_x509_svid", limits.fetch_x509_svid},
      {"fetch_jwt_svid", limits.fetch_jwt_svid},
      {"fetch_x509_bundles", limits.fetch_x509_bundles},
      {"fetch_jwt_bundles", limits.fetch_jwt_bundles},
      {"stream_secrets", limits.stream_secrets},
      {"fetch_secrets", limits.fetch_secrets},
  };
  for (auto [name, limit] : all) {
    if (limit < 0) {
      return invalid_argument(fmt::format("experimental.ratelimit.{} must not be negative", name));
    }
  }
  return {};
}

Result<void> take_experimental(const ExperimentalSection& section, LoadedConfig& out) {
  AgentConfig& config = out.config;
  if (!section.sync_interval.empty()) {
    config.sync_interval = TRY(parse_go_duration(section.sync_interval)
                                   .during("could not parse synchronization interval"));
    if (config.sync_interval <= Duration::zero()) {
      return invalid_argument("experimental.sync_interval must be positive");
    }
  }
  if (!section.jwt_svid_cache_hit_timeout.empty()) {
    Duration timeout = TRY(parse_go_duration(section.jwt_svid_cache_hit_timeout)
                               .during("could not parse jwt_svid_cache_hit_timeout"));
    if (timeout < kCacheHitTimeoutMin) {
      return invalid_argument(fmt::format("jwt_svid_cache_hit_timeout ({}) must be greater than {}",
                                          format_go_duration(timeout),
                                          format_go_duration(kCacheHitTimeoutMin)));
    }
    if (timeout >= kCacheHitTimeoutMax) {
      return invalid_argument(fmt::format("jwt_svid_cache_hit_timeout ({}) must be less than {}",
                                          format_go_duration(timeout),
                                          format_go_duration(kCacheHitTimeoutMax)));
    }
    config.jwt_cache_hit_timeout = timeout;
    out.warnings.emplace_back("The use of 'jwt_svid_cache_hit_timeout' is experimental");
  }
  if (section.use_sync_authorized_entries) {
    out.warnings.emplace_back(
        "The 'use_sync_authorized_entries' configuration is deprecated. The option to disable it "
        "will be removed in SPIRE 1.13.");
    config.use_sync_authorized_entries = *section.use_sync_authorized_entries;
  }
  TRY(check_rate_limits(section.ratelimit));
  config.rate_limits = section.ratelimit;
  out.warnings.emplace_back(
      "Experimental features have been enabled. Please see doc/upgrading.md for upgrade and "
      "compatibility considerations for experimental features.");
  for (const std::string& flag : section.feature_flags) {
    out.warnings.push_back(fmt::format("Developer feature flag \"{}\" has been enabled", flag));
  }
  return {};
}

Result<std::string> absolute(const std::string& path, std::string_view what) {
  std::error_code error;
  auto result = std::filesystem::absolute(path, error).lexically_normal();
  if (error) {
    return internal(fmt::format("failed to get absolute path for {}: {}", what, error.message()));
  }
  return result.string();
}

Result<void> take_sockets(const AgentSection& agent, AgentConfig& config) {
  config.workload_api = !agent.disable_workload_api;
  config.sds_api = !agent.disable_sds_api;
  bool endpoint_enabled = config.workload_api || config.sds_api;
  if (endpoint_enabled) {
    config.socket_path = TRY(absolute(agent.socket_path, "socket_path"));
  }
  if (!agent.admin_socket_path.empty()) {
    config.admin_socket_path = TRY(absolute(agent.admin_socket_path, "admin_socket_path"));
    if (endpoint_enabled) {
      auto public_folder = std::filesystem::path(config.socket_path).parent_path().string();
      if (config.admin_socket_path.starts_with(public_folder + "/")) {
        return invalid_argument(
            "admin socket cannot be in the same directory or a subdirectory as that containing the "
            "Workload API socket");
      }
    }
  }
  return {};
}

Result<SecretBytes> take_join_token(AgentSection& agent) {
  if (agent.join_token_file.empty()) {
    return std::move(agent.join_token);
  }
  Bytes text =
      TRY(io::read_file(agent.join_token_file, kJoinTokenBytesMax)
              .during(fmt::format("unable to read join token file \"{}\"", agent.join_token_file)));
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  std::string_view token = text;
  token.remove_prefix(std::min(token.find_first_not_of(kSpace), token.size()));
  token = token.substr(0, token.find_last_not_of(kSpace) + 1);
  SecretBytes secret(token);
  wipe(text);
  if (secret.empty()) {
    return invalid_argument("join token file is empty");
  }
  return secret;
}

Result<void> take_credentials(const AgentSection& agent, AgentConfig& config) {
  if (agent.x509_svid_cache_max_size < 0) {
    return invalid_argument("x509_svid_cache_max_size should not be negative");
  }
  if (agent.jwt_svid_cache_max_size < 0) {
    return invalid_argument("jwt_svid_cache_max_size should not be negative");
  }
  auto size_or_default = [](int size) {
    return size == 0 ? kDefaultCacheMax : static_cast<std::size_t>(size);
  };
  config.x509_cache_max = size_or_default(agent.x509_svid_cache_max_size);
  config.jwt_cache_max = size_or_default(agent.jwt_svid_cache_max_size);
  const std::string& type = agent.workload_x509_svid_key_type;
  if (!type.empty()) {
    auto parsed = crypto::parse_key_type(type);
    if (!parsed.ok() || *parsed == crypto::KeyType::kRsa4096) {
      return invalid_argument(fmt::format(
          "key type \"{}\" is unknown; must be one of [rsa-2048, ec-p256, ec-p384]", type));
    }
    config.workload_key_type = *parsed;
  }
  if (!agent.availability_target.empty()) {
    Duration target = TRY(
        parse_go_duration(agent.availability_target).during("unable to parse availability_target"));
    if (target < kAvailabilityTargetMin) {
      return invalid_argument(fmt::format("availability_target must be at least {}",
                                          format_go_duration(kAvailabilityTargetMin)));
    }
    config.rotation.availability_target = target;
  }
  return {};
}

Result<LoadedConfig> build(AgentFile file, hcl::Report report) {
  AgentSection& agent = file.agent;
  if (!file.plugins) {
    return invalid_argument("plugins section must be configured");
  }
  TRY(validate(agent));
  TRY(refuse_unbuilt(agent));
  if (agent.experimental) {
    TRY(check_feature_flags(agent.experimental->feature_flags));
  }
  auto domain =
      TRY(spiffe::TrustDomain::parse(agent.trust_domain)
              .during(fmt::format("could not parse trust_domain \"{}\"", agent.trust_domain)));
  LoadedConfig out{AgentConfig(std::move(domain)), {}, {}};
  AgentConfig& config = out.config;
  if (agent.experimental) {
    TRY(take_experimental(*agent.experimental, out));
  }
  config.join_token = TRY(take_join_token(agent));
  TRY(take_credentials(agent, config));
  TRY(take_sockets(agent, config));
  config.data_dir = agent.data_dir;
  config.server_address = agent.server_address;
  config.server_port = static_cast<std::uint16_t>(agent.server_port);
  config.bootstrap = {agent.insecure_bootstrap, agent.trust_bundle_path, agent.trust_bundle_url,
                      agent.trust_bundle_unix_socket, agent.trust_bundle_format == "spiffe"};
  config.allow_unauthenticated_verifiers = agent.allow_unauthenticated_verifiers;
  config.allowed_foreign_jwt_claims = agent.allowed_foreign_jwt_claims;
  config.log_selectors = agent.log_selectors;
  if (agent.sds.default_all_bundles_name == agent.sds.default_bundle_name) {
    out.warnings.emplace_back(
        "The \"default_bundle_name\" and \"default_all_bundles_name\" configurables have the same "
        "value. \"default_all_bundles_name\" will be ignored. Please configure distinct values or "
        "use the defaults. This will be a configuration error in a future release.");
  }
  TRY(check_telemetry(file.telemetry));
  config.telemetry = std::move(file.telemetry);
  config.health = std::move(file.health_checks);
  config.log = std::move(agent.log);
  config.plugins = hcl::decode_plugins(*file.plugins, report);
  TRY(report.result(false));
  out.unknown = std::move(report.unknown);
  for (const hcl::Problem& warning : report.warnings) {
    out.warnings.push_back(report.text(warning));
  }
  return out;
}

Result<LoadedConfig> from_tree(const hcl::Value& tree, const Overrides& overrides,
                               const std::string& path) {
  hcl::Report report;
  AgentFile file = agent_file().decode(tree, report);
  TRY(report.result(false).during(fmt::format("unable to decode configuration at \"{}\"", path)));
  apply(overrides, file.agent);
  return build(std::move(file), std::move(report));
}

}  // namespace

Result<LoadedConfig> load_config(const Overrides& overrides, const hcl::Environment& environment) {
  std::string path =
      overrides.config_path.empty() ? std::string(kDefaultConfigPath) : overrides.config_path;
  hcl::Value tree =
      TRY(hcl::load_file(path, {.expand_env = overrides.expand_env, .environment = environment}));
  return from_tree(tree, overrides, path);
}

Result<LoadedConfig> parse_config(std::string_view text, const Overrides& overrides) {
  hcl::Value tree = TRY(hcl::parse(text));
  return from_tree(tree, overrides, "agent.conf");
}

}  // namespace steeple::agent
