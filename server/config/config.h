// SPDX-License-Identifier: Apache-2.0

// The server's configuration. `schema()` declares every key of server.conf once; `load` reads a
// file, lays the command line over it and checks the whole, collecting every mistake. The result is
// plain data that Server(config, deps) makes live. Values that this build does not serve are
// refused by name, never ignored.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/crypto/key_type.h"
#include "lib/hcl/plugins.h"
#include "lib/hcl/schema.h"
#include "lib/telemetry/config.h"
#include "spiffe/spiffe_id.h"

namespace steeple::server {

struct CaSubjectConfig {
  std::vector<std::string> country;
  std::vector<std::string> organization;
  std::string common_name;
  bool empty() const { return country.empty() && organization.empty() && common_name.empty(); }
};

struct RateLimitConfig {
  bool attestation = true;
  bool signing = true;
};

struct ExperimentalConfig {
  bool agent_spiffe_id_as_selector = false;
  std::optional<hcl::Value> auth_opa_policy_engine;
  // For what other processes write; own changes are told at once.
  std::optional<Duration> cache_reload_interval;
  std::optional<Duration> full_cache_reload_interval;
  bool events_based_cache = false;  // accepted: always so
  Duration prune_events_older_than = std::chrono::hours(12);
  std::optional<Duration> event_timeout;
  std::optional<Duration> sql_transaction_timeout;
  bool require_pq_kem = false;
  std::string wit_key_type;
  std::string wit_issuer;
  std::vector<std::string> feature_flags;
  std::string named_pipe_name;
};

// federation{ bundle_endpoint{} }. Members of a profile stand for blocks that are there.
struct EndpointProfileConfig {
  std::optional<hcl::Value> https_spiffe;
  std::optional<hcl::Value> https_web;
};
struct BundleEndpointConfig {
  std::string address = "0.0.0.0";
  int port = 443;
  Duration refresh_hint = std::chrono::minutes(5);
  std::optional<hcl::Value> acme;
  std::optional<EndpointProfileConfig> profile;
};
struct FederationConfig {
  std::optional<BundleEndpointConfig> bundle_endpoint;
  std::optional<hcl::Value> federates_with;
};
const hcl::Schema<FederationConfig>& federation_schema();
// What is wrong with it, or not built; appends warnings.
Result<void> check_federation(const FederationConfig& config, std::vector<std::string>& warnings);

// server{} as it stands in the file; `trust_domain` and the like are checked types already.
struct ServerSection {
  std::vector<std::string> admin_ids;
  std::optional<Duration> agent_ttl;
  bool audit_log_enabled = false;
  std::string bind_address = "0.0.0.0";
  int bind_port = 8081;
  crypto::KeyType ca_key_type = crypto::KeyType::kEcP256;
  std::optional<crypto::KeyType> jwt_key_type;
  CaSubjectConfig ca_subject;
  Duration ca_ttl = std::chrono::hours(24);
  std::string data_dir;
  Duration default_x509_svid_ttl = std::chrono::hours(1);
  Duration default_jwt_svid_ttl = std::chrono::minutes(5);
  bool disable_jwt_svids = false;
  std::string jwt_issuer;
  LogConfig log;
  Duration max_attested_node_info_staleness{0};
  bool profiling_enabled = false;
  int profiling_port = 0;
  int profiling_freq = 0;
  std::vector<std::string> profiling_names;
  std::vector<std::string> proxy_protocol_trusted_cidrs;
  std::optional<Duration> prune_attested_nodes_expired_for;
  int prune_attested_nodes_batch_size = 1000;
  bool prune_tofu_nodes = false;
  RateLimitConfig ratelimit;
  std::string socket_path = "/tmp/spire-server/private/api.sock";
  std::string trust_domain;
  std::optional<FederationConfig> federation;
  ExperimentalConfig experimental;
};

struct ServerFile {
  std::optional<ServerSection> server;
  std::optional<hcl::Value> plugins;
  TelemetryConfig telemetry;
  HealthConfig health_checks;
};

const hcl::Schema<ServerFile>& schema();

// Flags of `run` and `validate` that were given; they win over the file.
struct Overrides {
  std::string bind_address, data_dir, log_file, log_format, log_level, socket_path, trust_domain;
  int bind_port = 0;
  bool log_source_location = false;
};

struct ServerConfig {
  ServerSection section;
  spiffe::TrustDomain trust_domain;
  std::vector<spiffe::SpiffeId> admin_ids;
  std::vector<hcl::PluginConfig> plugins;
  TelemetryConfig telemetry;
  HealthConfig health_checks;
  std::vector<std::string> warnings;  // to be logged once there is a logger

  Duration agent_ttl() const { return section.agent_ttl.value_or(section.default_x509_svid_ttl); }
  crypto::KeyType jwt_key_type() const {
    return section.jwt_key_type.value_or(section.ca_key_type);
  }
};

// Checks a parsed document. Unknown keys are in `report` as well as in the error.
Result<ServerConfig> build_config(const hcl::Value& document, const Overrides& overrides,
                                  hcl::Report& report);

struct LoadResult {
  std::optional<ServerConfig> config;  // nothing when `error` is set
  hcl::Report report;
  std::optional<Error> error;
};
// Reads the file (blocks) and builds.
LoadResult load_config(const std::string& path, bool expand_env, const Overrides& overrides);

}  // namespace steeple::server
