// SPDX-License-Identifier: Apache-2.0

// The agent's configuration: a SPIRE agent.conf (HCL or JSON) and the flags of `run`, checked once
// and turned into plain data. What SPIRE accepts and this agent has not built is refused here with
// a clear error, never ignored. Used at start-up only.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config/rotation.h"
#include "lib/base/result.h"
#include "lib/base/secret_bytes.h"
#include "lib/crypto/key_type.h"
#include "lib/hcl/parse.h"
#include "lib/hcl/plugins.h"
#include "lib/hcl/report.h"
#include "lib/hcl/schema.h"
#include "lib/telemetry/config.h"
#include "spiffe/trust_domain.h"

namespace steeple::agent {

inline constexpr std::string_view kDefaultConfigPath = "conf/agent/agent.conf";
inline constexpr std::string_view kDefaultSocketPath = "/tmp/spire-agent/public/api.sock";

// experimental.ratelimit: calls per second and burst for each set of selectors; 0 = no limit.
struct RateLimits {
  int fetch_x509_svid = 0;
  int fetch_jwt_svid = 0;
  int fetch_x509_bundles = 0;
  int fetch_jwt_bundles = 0;
  int stream_secrets = 0;
  int fetch_secrets = 0;
};

// Where the trust in the server comes from before there is a stored bundle; exactly one.
struct BootstrapTrust {
  bool insecure = false;
  std::string bundle_path = {};
  std::string bundle_url = {};
  std::string bundle_unix_socket = {};
  bool spiffe_format = false;  // else PEM
};

struct AgentConfig {
  explicit AgentConfig(spiffe::TrustDomain domain) : trust_domain(std::move(domain)) {}

  spiffe::TrustDomain trust_domain;
  std::string data_dir = ".";
  std::string server_address;
  std::uint16_t server_port = 0;
  BootstrapTrust bootstrap;
  SecretBytes join_token;  // set: join_token attests, whatever NodeAttestor is configured

  std::string socket_path;        // absolute; empty: no public endpoint
  std::string admin_socket_path;  // absolute; empty: none
  bool workload_api = true;
  bool sds_api = true;  // accepted; answered with UNIMPLEMENTED

  bool allow_unauthenticated_verifiers = false;
  std::vector<std::string> allowed_foreign_jwt_claims;
  std::vector<std::string> log_selectors;
  RotationPolicy rotation;
  crypto::KeyType workload_key_type = crypto::KeyType::kEcP256;
  std::size_t x509_cache_max = 1000;
  std::size_t jwt_cache_max = 1000;
  Duration sync_interval = std::chrono::seconds(5);
  // No key: while the server pushes changes, a full sync still happens this often.
  Duration safety_sync_interval = std::chrono::minutes(5);
  // No key: a server that answers nothing is noticed after about this.
  Duration keepalive_interval = std::chrono::seconds(30);
  Duration jwt_cache_hit_timeout = std::chrono::seconds(30);
  bool use_sync_authorized_entries = true;
  RateLimits rate_limits;

  std::vector<hcl::PluginConfig> plugins;
  LogConfig log;
  TelemetryConfig telemetry;
  HealthConfig health;
};

// The flags of `run` and `validate`. Empty, zero and false mean "not given", as in the reference.
struct Overrides {
  std::string config_path;
  bool expand_env = false;
  std::string data_dir, join_token, join_token_file, log_file, log_format, log_level;
  std::string server_address, trust_domain, trust_bundle, trust_bundle_url, trust_bundle_format;
  std::string rebootstrap_mode, rebootstrap_delay, socket_path;
  int server_port = 0;
  bool log_source_location = false;
  bool disable_workload_api = false;
  bool disable_sds_api = false;
  bool allow_unauthenticated_verifiers = false;
  bool insecure_bootstrap = false;
};

struct LoadedConfig {
  AgentConfig config;
  std::vector<hcl::UnknownKeys> unknown;  // to be logged, then fatal
  std::vector<std::string> warnings;      // to be logged
};

// Reads files (configuration, join token): blocks. Error texts are the reference's.
Result<LoadedConfig> load_config(const Overrides& overrides, const hcl::Environment& environment);
// The same from text, without touching the disk except for join_token_file.
Result<LoadedConfig> parse_config(std::string_view text, const Overrides& overrides);

// For `./dev gen` and the documentation.
const hcl::SchemaBase& agent_file_schema();

}  // namespace steeple::agent
