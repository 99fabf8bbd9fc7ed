// SPDX-License-Identifier: Apache-2.0

#include "oidc/config/provider_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "lib/base/limits.h"
#include "lib/io/directory.h"
#include "oidc/config/file_schema.h"

namespace steeple::oidc {
namespace {

constexpr Duration kPollInterval = std::chrono::seconds(10);
constexpr Duration kFileSyncInterval = std::chrono::minutes(1);
constexpr const char* kServingCertAddr = ":443";
constexpr const char* kServingSvidAddr = ":8443";

// An empty text, or one that says nothing positive, is the default.
Result<Duration> duration_of(const std::string& text, Duration otherwise, std::string_view key,
                             std::string_view section) {
  if (text.empty()) {
    return otherwise;
  }
  auto value = parse_go_duration(text);
  Duration given = TRY(std::move(value).during(
      fmt::format("invalid {} in the {} configuration section", key, section)));
  return given > Duration(0) ? given : otherwise;
}

// "host:port", ":port", "[v6]:port"; names of ports are those that web servers have.
Result<io::Endpoint> parse_address(const std::string& text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || text.ends_with(']')) {
    return invalid_argument(fmt::format("address {}: missing port in address", text));
  }
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.contains(':')) {
    return invalid_argument(fmt::format("address {}: too many colons in address", text));
  }
  std::string port = text.substr(colon + 1);
  std::uint16_t number = port == "https" ? 443 : port == "http" ? 80 : 0;
  if (number == 0 && !port.empty()) {
    auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (problem != std::errc() || end != port.data() + port.size()) {
      return invalid_argument(fmt::format("address {}: invalid port", port));
    }
  }
  return io::Endpoint::tcp(std::move(host), number);
}

Result<void> check_acme(const File& file) {
  if (!file.acme) {
    return {};
  }
  if (!file.insecure_addr.empty()) {
    return invalid_argument("insecure_addr and the acme section are mutually exclusive");
  }
  if (!file.acme->tos_accepted) {
    return invalid_argument("tos_accepted must be set to true in the acme configuration section");
  }
  if (file.acme->email.empty()) {
    return invalid_argument("email must be configured in the acme configuration section");
  }
  return {};
}

Result<void> take_serving_cert(const File& file, ProviderConfig& config) {
  if (!file.serving_cert_file) {
    return {};
  }
  const ServingCertFileFile& section = *file.serving_cert_file;
  if (section.cert_file_path.empty()) {
    return invalid_argument(
        "cert_file_path must be configured in the serving_cert_file configuration section");
  }
  if (section.key_file_path.empty()) {
    return invalid_argument(
        "key_file_path must be configured in the serving_cert_file configuration section");
  }
  ServingCertFileConfig& serving = config.serving_cert_file.emplace();
  serving.cert_file_path = section.cert_file_path;
  serving.key_file_path = section.key_file_path;
  auto addr = parse_address(section.addr.empty() ? kServingCertAddr : section.addr);
  serving.addr =
      TRY(std::move(addr).during("invalid addr in the serving_cert_file configuration section"));
  serving.file_sync_interval = TRY(duration_of(section.file_sync_interval, kFileSyncInterval,
                                               "file_sync_interval", "serving_cert_file"));
  return {};
}

// The intervals are judged before the sections' other keys, as the reference does.
Result<int> take_sources(const File& file, ProviderConfig& config) {
  int sources = 0;
  if (file.server_api) {
    config.server_api.emplace().poll_interval = TRY(
        duration_of(file.server_api->poll_interval, kPollInterval, "poll_interval", "server_api"));
    ++sources;
  }
  if (file.workload_api) {
    const WorkloadApiFile& section = *file.workload_api;
    if (section.trust_domain.empty()) {
      return invalid_argument(
          "trust_domain must be configured in the workload_api configuration section");
    }
    Duration interval =
        TRY(duration_of(section.poll_interval, kPollInterval, "poll_interval", "workload_api"));
    auto parsed = spiffe::TrustDomain::parse(section.trust_domain);
    auto domain = TRY(
        std::move(parsed).during("invalid trust_domain in the workload_api configuration section"));
    config.workload_api = WorkloadApiConfig{{}, std::move(domain), interval};
    ++sources;
  }
  if (file.file) {
    FileConfig& source = config.file.emplace();
    source.path = file.file->path;
    source.poll_interval =
        TRY(duration_of(file.file->poll_interval, kPollInterval, "poll_interval", "file"));
    ++sources;
  }
  return sources;
}

Result<void> take_health(const File& file, ProviderConfig& config) {
  if (!file.health_checks) {
    return {};
  }
  HealthConfig& health = config.health_checks.emplace();
  if (file.health_checks->bind_port > 65535) {
    return invalid_argument("bind_port is too large in the health_checks configuration section");
  }
  if (file.health_checks->bind_port > 0) {
    health.bind_port = file.health_checks->bind_port;
  }
  if (!file.health_checks->ready_path.empty()) {
    health.ready_path = file.health_checks->ready_path;
  }
  if (!file.health_checks->live_path.empty()) {
    health.live_path = file.health_checks->live_path;
  }
  if (health.ready_path == health.live_path) {
    return invalid_argument(
        "ready_path and live_path must differ in the health_checks configuration section");
  }
  return {};
}

Result<void> check_serving(const File& file) {
  bool acme = file.acme.has_value();
  bool cert = file.serving_cert_file.has_value();
  bool svid = file.serving_svid.has_value();
  bool socket = !file.listen_socket_path.empty();
  bool insecure = !file.insecure_addr.empty();
  if (!acme && !cert && !svid && !socket && !insecure) {
    return invalid_argument(
        "either acme, serving_cert_file, insecure_addr or listen_socket_path must be configured");
  }
  struct Pair {
    bool both;
    std::string_view text;
  };
  const Pair pairs[] = {{acme && cert, "acme and serving_cert_file"},
                        {acme && socket, "listen_socket_path and the acme section"},
                        {cert && insecure, "serving_cert_file and insecure_addr"},
                        {cert && socket, "serving_cert_file and listen_socket_path"},
                        {acme && insecure, "acme and insecure_addr"},
                        {insecure && socket, "insecure_addr and listen_socket_path"},
                        {svid && acme, "serving_svid and acme"},
                        {svid && cert, "serving_svid and serving_cert_file"},
                        {svid && insecure, "serving_svid and insecure_addr"},
                        {svid && socket, "serving_svid and listen_socket_path"}};
  for (const Pair& pair : pairs) {
    if (pair.both) {
      return invalid_argument(fmt::format("{} are mutually exclusive", pair.text));
    }
  }
  return {};
}

// gRPC's unix names: unix:path and unix:///absolute/path.
Result<std::string> socket_of(const std::string& address) {
  constexpr std::string_view kScheme = "unix:";
  if (address.empty()) {
    return invalid_argument("address must be configured in the server_api configuration section");
  }
  if (!address.starts_with(kScheme)) {
    return invalid_argument(
        "address must use the unix name system in the server_api configuration section");
  }
  std::string path = address.substr(kScheme.size());
  if (path.starts_with("//")) {
    path.erase(0, 2);
    if (!path.starts_with('/')) {
      return invalid_argument(fmt::format(
          "address \"{}\" has no absolute path in the server_api configuration section", address));
    }
  }
  if (path.empty()) {
    return invalid_argument("address has no path in the server_api configuration section");
  }
  return path;
}

Result<void> take_sockets(const File& file, ProviderConfig& config) {
  if (file.server_api) {
    config.server_api->socket_path = TRY(socket_of(file.server_api->address));
  }
  if (file.workload_api) {
    if (file.workload_api->socket_path.empty()) {
      return invalid_argument(
          "socket_path must be configured in the workload_api configuration section");
    }
    std::error_code problem;
    config.workload_api->socket_path =
        std::filesystem::absolute(file.workload_api->socket_path, problem).string();
    if (problem) {
      return internal(fmt::format("socket_path: {}", problem.message()));
    }
  }
  return {};
}

Result<void> take_urls(const File& file, ProviderConfig& config) {
  if (!file.jwt_issuer.empty()) {
    auto parsed = parse_url(file.jwt_issuer);
    Url issuer = TRY(std::move(parsed).during("the jwt_issuer url could not be parsed"));
    if (issuer.scheme.empty()) {
      return invalid_argument("the jwt_issuer url must contain a scheme");
    }
    if (issuer.host.empty()) {
      return invalid_argument("the jwt_issuer url must contain a host");
    }
    config.jwt_issuer = std::move(issuer);
  }
  if (!file.jwks_uri.empty()) {
    auto parsed = parse_url(file.jwks_uri);
    Url uri = TRY(std::move(parsed).during("the jwks_uri setting could not be parsed"));
    if (uri.scheme.empty() || uri.host.empty()) {
      return invalid_argument(
          "the jwks_uri setting could not be parsed: it must contain a scheme and a host");
    }
    config.jwks_uri = std::move(uri);
  }
  return {};
}

void take_domains(const File& file, ProviderConfig& config) {
  for (const std::string& domain : file.domains) {
    if (std::find(config.domains.begin(), config.domains.end(), domain) == config.domains.end()) {
      config.domains.push_back(domain);
    }
  }
}

void take_plain(const File& file, ProviderConfig& config) {
  config.log_format = file.log_format;
  config.log_path = file.log_path;
  if (!file.log_level.empty()) {
    config.log_level = file.log_level;
  }
  config.log_requests = file.log_requests;
  config.set_key_use = file.set_key_use;
  config.allow_insecure_scheme = file.allow_insecure_scheme;
  config.listen_socket_path = file.listen_socket_path;
  if (!file.server_path_prefix.empty()) {
    config.server_path_prefix =
        (file.server_path_prefix.starts_with('/') ? "" : "/") + file.server_path_prefix;
  }
  bool pipes = !file.experimental.listen_named_pipe_name.empty() ||
               (file.server_api && !file.server_api->experimental.named_pipe_name.empty()) ||
               (file.workload_api && !file.workload_api->experimental.named_pipe_name.empty());
  if (pipes) {
    config.warnings.emplace_back("named pipes are of another operating system; ignored");
  }
}

// What only we say: after everything that the reference would say.
Result<void> take_own(const File& file, ProviderConfig& config) {
  for (const std::string& domain : config.domains) {
    TRY(check_domain(domain));
  }
  if (!file.insecure_addr.empty()) {
    auto addr = parse_address(file.insecure_addr);
    config.insecure_addr = TRY(std::move(addr).during("invalid insecure_addr"));
  }
  if (file.serving_svid) {
    if (!file.workload_api) {
      return invalid_argument("serving_svid needs the workload_api section");
    }
    const std::string& text = file.serving_svid->addr;
    auto addr = parse_address(text.empty() ? kServingSvidAddr : text);
    config.serving_svid =
        TRY(std::move(addr).during("invalid addr in the serving_svid configuration section"));
  }
  if (file.file && file.file->path.empty()) {
    return invalid_argument("path must be configured in the file configuration section");
  }
  if (file.acme) {
    return unimplemented(
        "the acme section is not supported by this provider; use serving_cert_file, serving_svid, "
        "insecure_addr or listen_socket_path");
  }
  return {};
}

}  // namespace

Duration ProviderConfig::poll_interval() const {
  return server_api     ? server_api->poll_interval
         : workload_api ? workload_api->poll_interval
                        : file->poll_interval;
}

Result<ProviderConfig> parse_config(std::string_view text) {
  constexpr std::string_view kDecoding = "unable to decode configuration";
  hcl::Value root = TRY(hcl::parse(text).during(kDecoding));
  hcl::Report report;
  File file = file_schema().decode(root, report);
  TRY(report.result(/*unknown_is_error=*/false).during(kDecoding));
  ProviderConfig config;
  take_plain(file, config);
  if (file.domains.empty()) {
    return invalid_argument("at least one domain must be configured");
  }
  take_domains(file, config);
  TRY(check_acme(file));
  TRY(take_serving_cert(file, config));
  int sources = TRY(take_sources(file, config));
  TRY(take_health(file, config));
  TRY(check_serving(file));
  TRY(take_sockets(file, config));
  if (sources == 0) {
    return invalid_argument(
        "exactly one of the server_api, workload_api, or file sections must be configured");
  }
  if (sources > 1) {
    return invalid_argument(
        "the server_api, workload_api, and file sections are mutually exclusive");
  }
  TRY(take_urls(file, config));
  TRY(report.result(/*unknown_is_error=*/true).during(kDecoding));
  TRY(take_own(file, config));
  return config;
}

Result<ProviderConfig> load_config(const std::string& path, const hcl::Environment& environment) {
  std::string text =
      TRY(io::read_file(path, limits::kConfigBytesMax).during("unable to load configuration"));
  return parse_config(environment ? hcl::expand_env(text, environment) : text);
}

}  // namespace steeple::oidc
