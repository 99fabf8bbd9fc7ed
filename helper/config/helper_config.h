// SPDX-License-Identifier: Apache-2.0

// What the helper's configuration file says, checked: keys, defaults and refusals are
// spiffe-helper's. Plain data; reading the file blocks.

#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace steeple::helper {

struct JwtSvidConfig {
  std::string audience;
  std::vector<std::string> extra_audiences;
  std::string file_name;
};

struct HealthConfig {
  bool listener_enabled = false;
  int bind_port = 8081;
  std::string liveness_path = "/live";
  std::string readiness_path = "/ready";
};

struct HelperConfig {
  std::string agent_address;  // "unix:///run/spire/api.sock"
  std::string cmd;
  std::vector<std::string> cmd_args;
  std::string pid_file_name;
  std::string renew_signal;  // "SIGHUP"; empty: none
  int renew_signal_number = 0;
  bool daemon_mode = true;

  std::string cert_dir;
  std::string svid_file_name, svid_key_file_name, svid_bundle_file_name;  // all or none
  bool add_intermediates_to_bundle = false;
  bool include_federated_domains = false;
  bool omit_expired = false;
  std::string hint;
  std::vector<JwtSvidConfig> jwt_svids;
  std::string jwt_bundle_file_name;
  mode_t cert_file_mode = 0644;
  mode_t key_file_mode = 0600;
  mode_t jwt_bundle_file_mode = 0600;
  mode_t jwt_svid_file_mode = 0600;
  HealthConfig health;

  std::vector<std::string> warnings;  // for the log

  bool x509_enabled() const { return !svid_file_name.empty(); }
  // As Go's path.Join does: "certs/svid.pem".
  std::string path_of(const std::string& file_name) const;
};

using Variable = std::function<std::optional<std::string>(std::string_view name)>;

// `daemon_mode` wins over the file when given. Errors are those of the reference's validation.
Result<HelperConfig> parse_config(std::string_view text, std::optional<bool> daemon_mode,
                                  const Variable& variable);
// Errors begin `failed to parse "<path>": `.
Result<std::string> read_config(const std::string& path);

// Splits at spaces as the reference does (CSV with a space for a comma): a field in quotes may have
// spaces, two quotes in it are one.
Result<std::vector<std::string>> split_arguments(std::string_view text);
// The number of "SIGHUP"; 0 for what is no signal.
int signal_number(std::string_view name);

}  // namespace steeple::helper
