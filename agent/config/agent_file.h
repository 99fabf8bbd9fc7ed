// SPDX-License-Identifier: Apache-2.0

// agent.conf as it stands in the file: one struct per block with its schema, before the rules of
// agent_config.cc. Only this folder includes it.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/config/agent_config.h"
#include "lib/base/secret_bytes.h"
#include "lib/hcl/schema.h"
#include "lib/telemetry/config.h"

namespace steeple::agent {

struct SdsSection {
  std::string default_svid_name = "default";
  std::string default_bundle_name = "ROOTCA";
  std::string default_all_bundles_name = "ALL";
  bool disable_spiffe_cert_validation = false;
};

struct ExperimentalSection {
  std::string sync_interval;
  std::string jwt_svid_cache_hit_timeout;
  std::string named_pipe_name;
  std::string admin_named_pipe_name;
  std::optional<bool> use_sync_authorized_entries;
  bool require_pq_kem = false;
  std::vector<std::string> feature_flags;
  RateLimits ratelimit;
  std::optional<hcl::Value> broker;
};

struct AgentSection {
  LogConfig log;
  std::string data_dir;
  std::string admin_socket_path;
  bool insecure_bootstrap = false;
  std::string rebootstrap_mode;
  std::string rebootstrap_delay;
  SecretBytes join_token;
  std::string join_token_file;
  std::vector<std::string> log_selectors;
  SdsSection sds;
  std::string server_address;
  int server_port = 0;
  std::string socket_path;
  bool disable_workload_api = false;
  bool disable_sds_api = false;
  std::string workload_x509_svid_key_type;
  std::string trust_bundle_format;
  std::string trust_bundle_path;
  std::string trust_bundle_spiffe_workload_api;
  std::string trust_bundle_unix_socket;
  std::string trust_bundle_url;
  std::string trust_domain;
  bool allow_unauthenticated_verifiers = false;
  std::vector<std::string> allowed_foreign_jwt_claims;
  std::string availability_target;
  int x509_svid_cache_max_size = 0;
  int jwt_svid_cache_max_size = 0;
  std::vector<std::string> authorized_delegates;
  bool profiling_enabled = false;
  int profiling_port = 0;
  int profiling_freq = 0;
  std::vector<std::string> profiling_names;
  std::optional<ExperimentalSection> experimental;
};

struct AgentFile {
  AgentSection agent;
  std::optional<hcl::Value> plugins;
  TelemetryConfig telemetry;
  HealthConfig health_checks;
};

const hcl::Schema<AgentFile>& agent_file();

}  // namespace steeple::agent
