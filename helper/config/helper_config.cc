// SPDX-License-Identifier: Apache-2.0

#include "helper/config/helper_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>

#include "lib/base/limits.h"
#include "lib/hcl/parse.h"
#include "lib/hcl/schema.h"
#include "lib/io/directory.h"

namespace steeple::helper {
namespace {

constexpr const char* kDefaultAgentAddress = "/tmp/spire-agent/public/api.sock";
constexpr const char* kAddressVariable = "SPIFFE_ENDPOINT_SOCKET";
constexpr mode_t kPermissions = 0777;

struct HealthFile {
  bool listener_enabled = false;
  int bind_port = 0;
  std::string liveness_path, readiness_path;
};

struct JwtFile {
  std::string audience, file_name;
  std::vector<std::string> extra_audiences;
};

// The file as it stands; what is empty or zero gets its default afterwards, as in the reference.
struct File {
  HelperConfig plain;
  std::string cmd_args;
  int cert_file_mode = 0, key_file_mode = 0, jwt_bundle_file_mode = 0, jwt_svid_file_mode = 0;
  std::optional<bool> daemon_mode;
  std::vector<JwtFile> jwt_svids;
  HealthFile health;
};

const hcl::Schema<HealthFile>& health_file_schema() {
  static const auto schema =
      hcl::Schema<HealthFile>("health_checks", "A page that says whether the files are written.")
          .key("listener_enabled", &HealthFile::listener_enabled, "whether there is one")
          .key("bind_port", &HealthFile::bind_port, "its TCP port, on all addresses",
               {.default_text = "8081"})
          .key("liveness_path", &HealthFile::liveness_path, "", {.default_text = "/live"})
          .key("readiness_path", &HealthFile::readiness_path, "", {.default_text = "/ready"})
          .allow_unknown();
  return schema;
}

const hcl::Schema<JwtFile>& jwt_schema() {
  static const auto schema =
      hcl::Schema<JwtFile>("jwt_svids", "A JWT-SVID to keep in a file.")
          .key("jwt_audience", &JwtFile::audience, "for whom the token is")
          .key("jwt_extra_audiences", &JwtFile::extra_audiences, "for whom else")
          .key("jwt_svid_file_name", &JwtFile::file_name, "its file in cert_dir");
  return schema;
}

const hcl::Schema<HelperConfig>& plain_schema() {
  using Config = HelperConfig;
  static const auto schema =
      hcl::Schema<Config>("top level", "What to fetch, where to write it, whom to tell.")
          .key("agent_address", &Config::agent_address, "socket of the Workload API",
               {.default_text = "$SPIFFE_ENDPOINT_SOCKET, or /tmp/spire-agent/public/api.sock"})
          .key("cmd", &Config::cmd, "program to start after the first write")
          .key("pid_file_name", &Config::pid_file_name, "file with the pid to signal")
          .key("renew_signal", &Config::renew_signal, "signal for it after each later write")
          .key("cert_dir", &Config::cert_dir, "folder of all files; must be there")
          .key("svid_file_name", &Config::svid_file_name, "certificate chain, PEM")
          .key("svid_key_file_name", &Config::svid_key_file_name, "private key, PEM")
          .key("svid_bundle_file_name", &Config::svid_bundle_file_name, "authorities, PEM")
          .key("add_intermediates_to_bundle", &Config::add_intermediates_to_bundle,
               "write intermediates to the bundle and not to the SVID")
          .key("include_federated_domains", &Config::include_federated_domains,
               "the bundle has the federated authorities, too")
          .key("omit_expired", &Config::omit_expired, "leave expired authorities out")
          .key("hint", &Config::hint, "which of several identities to take")
          .key("jwt_bundle_file_name", &Config::jwt_bundle_file_name, "JWT authorities, JSON");
  return schema;
}

const hcl::Schema<File>& file_schema() {
  static const auto schema =
      hcl::Schema<File>("top level", "The helper's settings.")
          .include(&File::plain, plain_schema())
          .key("cmd_args", &File::cmd_args, "its arguments, separated by spaces")
          .key("daemon_mode", &File::daemon_mode, "stay and follow changes, or write once")
          .key("cert_file_mode", &File::cert_file_mode, "", {.default_text = "0644"})
          .key("key_file_mode", &File::key_file_mode, "", {.default_text = "0600"})
          .key("jwt_bundle_file_mode", &File::jwt_bundle_file_mode, "", {.default_text = "0600"})
          .key("jwt_svid_file_mode", &File::jwt_svid_file_mode, "", {.default_text = "0600"})
          .blocks("jwt_svids", &File::jwt_svids, jwt_schema())
          .block("health_checks", &File::health, health_file_schema());
  return schema;
}

// Keys of the members that no field has, sorted, "a,b".
std::string unknown_keys(const hcl::Value& object, const hcl::SchemaBase& schema) {
  std::set<std::string> found;
  for (const hcl::Member& member : object.members) {
    if (std::none_of(schema.fields().begin(), schema.fields().end(),
                     [&](const auto& field) { return hcl::same_key(field.key, member.key); })) {
      found.insert(member.key);
    }
  }
  return fmt::format("{}", fmt::join(found, ","));
}

Result<void> check_unknown(const hcl::Value& root) {
  if (std::string keys = unknown_keys(root, file_schema()); !keys.empty()) {
    return invalid_argument("unknown top level key(s): " + keys);
  }
  std::size_t index = 0;
  auto check = [&](const hcl::Value& object) -> Result<void> {
    if (std::string keys = unknown_keys(object, jwt_schema()); !keys.empty()) {
      return invalid_argument(fmt::format("unknown key(s) in jwt_svids[{}]: {}", index, keys));
    }
    ++index;
    return {};
  };
  for (const hcl::Member& member : root.members) {
    if (!hcl::same_key(member.key, "jwt_svids")) {
      continue;
    }
    if (member.value.is_object()) {
      TRY(check(member.value));
    }
    for (const hcl::Value& item : member.value.items) {
      TRY(check(item));
    }
  }
  return {};
}

Result<void> set_mode(int given, std::string_view what, mode_t& mode) {
  if (given < 0) {
    return invalid_argument(fmt::format("{} file mode must be positive", what));
  }
  if (given > 0) {
    mode = static_cast<mode_t>(given) & kPermissions;
  }
  return {};
}

Result<void> take_health(const HealthFile& file, HealthConfig& health) {
  health.listener_enabled = file.listener_enabled;
  if (!health.listener_enabled) {
    return {};
  }
  if (file.bind_port < 0) {
    return invalid_argument("bind port must be positive");
  }
  if (file.bind_port > std::numeric_limits<std::uint16_t>::max()) {
    return invalid_argument("bind port is too large");
  }
  health.bind_port = file.bind_port != 0 ? file.bind_port : health.bind_port;
  if (!file.liveness_path.empty()) {
    health.liveness_path = file.liveness_path;
  }
  if (!file.readiness_path.empty()) {
    health.readiness_path = file.readiness_path;
  }
  return {};
}

std::string full_address(std::string address, const Variable& variable) {
  if (address.empty()) {
    address = variable(kAddressVariable).value_or("");
  }
  if (address.empty()) {
    address = kDefaultAgentAddress;
  }
  // The reference takes paths alone; the variable holds a URI by its own standard.
  return address.starts_with("unix:") || address.starts_with("tcp:") ? address
                                                                     : "unix://" + address;
}

Result<void> check_process(HelperConfig& config) {
  if (!config.daemon_mode) {
    constexpr std::string_view kIgnored =
        "{0} is set but daemon_mode is false. {0} will be ignored. This may become an error in a "
        "future release.";
    if (!config.cmd.empty()) {
      config.warnings.push_back(fmt::format(kIgnored, "cmd"));
    }
    if (!config.renew_signal.empty()) {
      config.warnings.push_back(fmt::format(kIgnored, "renew_signal"));
    }
    if (!config.pid_file_name.empty()) {
      return invalid_argument(
          "pid_file_name is set but daemon_mode is false. pid_file_name is only supported in "
          "daemon_mode");
    }
  }
  if (!config.pid_file_name.empty() && config.renew_signal.empty()) {
    return invalid_argument("must specify renew_signal when using pid_file_name");
  }
  config.renew_signal_number = signal_number(config.renew_signal);
  bool used = config.daemon_mode && (!config.cmd.empty() || !config.pid_file_name.empty());
  if (used && !config.renew_signal.empty() && config.renew_signal_number == 0) {
    return invalid_argument(
        fmt::format("renew_signal \"{}\" is no signal's name", config.renew_signal));
  }
  return {};
}

Result<void> check_outputs(const HelperConfig& config) {
  auto empty = [](const std::string& name) { return name.empty() ? 1 : 0; };
  int missing = empty(config.svid_file_name) + empty(config.svid_bundle_file_name) +
                empty(config.svid_key_file_name);
  if (missing != 0 && missing != 3) {
    return invalid_argument(
        "all or none of 'svid_file_name', 'svid_key_file_name', 'svid_bundle_file_name' must be "
        "specified");
  }
  if (missing == 3 && config.jwt_bundle_file_name.empty() && config.jwt_svids.empty()) {
    return invalid_argument(
        "at least one of the sets ('svid_file_name', 'svid_key_file_name', "
        "'svid_bundle_file_name'), 'jwt_svids', or 'jwt_bundle_file_name' must be fully specified");
  }
  return {};
}

}  // namespace

std::string HelperConfig::path_of(const std::string& file_name) const {
  std::string path = cert_dir.empty() ? file_name : cert_dir + "/" + file_name;
  return std::filesystem::path(path).lexically_normal().string();
}

Result<std::string> read_config(const std::string& path) {
  return io::read_file(path, limits::kConfigBytesMax)
      .during(fmt::format("failed to parse \"{}\"", path));
}

Result<HelperConfig> parse_config(std::string_view text, std::optional<bool> daemon_mode,
                                  const Variable& variable) {
  hcl::Value root = TRY(hcl::parse(text));
  hcl::Report report;
  File file = file_schema().decode(root, report);
  TRY(report.result(/*unknown_is_error=*/false));
  TRY(check_unknown(root));
  HelperConfig config = std::move(file.plain);
  for (JwtFile& jwt : file.jwt_svids) {
    if (jwt.file_name.empty()) {
      return invalid_argument("'jwt_file_name' is required in 'jwt_svids'");
    }
    if (jwt.audience.empty()) {
      return invalid_argument("'jwt_audience' is required in 'jwt_svids'");
    }
    config.jwt_svids.push_back(
        {std::move(jwt.audience), std::move(jwt.extra_audiences), std::move(jwt.file_name)});
  }
  config.agent_address = full_address(std::move(config.agent_address), variable);
  config.daemon_mode = daemon_mode.value_or(file.daemon_mode.value_or(true));
  TRY(check_process(config));
  TRY(check_outputs(config));
  config.cmd_args = TRY(split_arguments(file.cmd_args).during("error parsing cmd arguments"));
  TRY(set_mode(file.cert_file_mode, "cert", config.cert_file_mode));
  TRY(set_mode(file.key_file_mode, "key", config.key_file_mode));
  TRY(set_mode(file.jwt_bundle_file_mode, "jwt bundle", config.jwt_bundle_file_mode));
  TRY(set_mode(file.jwt_svid_file_mode, "jwt svid", config.jwt_svid_file_mode));
  TRY(take_health(file.health, config.health));
  return config;
}

}  // namespace steeple::helper
