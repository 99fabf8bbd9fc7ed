// SPDX-License-Identifier: Apache-2.0

#include "agent/config/agent_file.h"

namespace steeple::agent {
namespace {

const hcl::Schema<SdsSection>& sds_schema() {
  static const auto schema =
      hcl::Schema<SdsSection>("sds", "Names of Envoy SDS resources. SDS is not served yet.")
          .key("default_svid_name", &SdsSection::default_svid_name, "name of the default X509-SVID")
          .key("default_bundle_name", &SdsSection::default_bundle_name,
               "name of the own trust domain's bundle")
          .key("default_all_bundles_name", &SdsSection::default_all_bundles_name,
               "name of all bundles together")
          .key("disable_spiffe_cert_validation", &SdsSection::disable_spiffe_cert_validation,
               "do not use Envoy's SPIFFE validator")
          .allow_unknown();
  return schema;
}

const hcl::Schema<RateLimits>& rate_limit_schema() {
  static const auto schema =
      hcl::Schema<RateLimits>("ratelimit", "Calls per second for each set of selectors; 0 = off.")
          .key("fetch_x509_svid", &RateLimits::fetch_x509_svid, "FetchX509SVID")
          .key("fetch_jwt_svid", &RateLimits::fetch_jwt_svid, "FetchJWTSVID")
          .key("fetch_x509_bundles", &RateLimits::fetch_x509_bundles, "FetchX509Bundles")
          .key("fetch_jwt_bundles", &RateLimits::fetch_jwt_bundles, "FetchJWTBundles")
          .key("stream_secrets", &RateLimits::stream_secrets, "SDS StreamSecrets")
          .key("fetch_secrets", &RateLimits::fetch_secrets, "SDS FetchSecrets");
  return schema;
}

const hcl::Schema<ExperimentalSection>& experimental_schema() {
  using S = ExperimentalSection;
  static const auto schema =
      hcl::Schema<S>("experimental", "Settings that may change.")
          .key("sync_interval", &S::sync_interval, "between polls of a server without push",
               {.default_text = "5s"})
          .key("jwt_svid_cache_hit_timeout", &S::jwt_svid_cache_hit_timeout,
               "how long the server is waited for while a cached JWT-SVID lives",
               {.default_text = "30s"})
          .key("named_pipe_name", &S::named_pipe_name, "Windows only")
          .key("admin_named_pipe_name", &S::admin_named_pipe_name, "Windows only")
          .key("use_sync_authorized_entries", &S::use_sync_authorized_entries, "sync by revision",
               {.default_text = "true"})
          .key("require_pq_kem", &S::require_pq_kem, "only post-quantum key exchange")
          .key("feature_flags", &S::feature_flags, "developer features")
          .block("ratelimit", &S::ratelimit, rate_limit_schema())
          .key("broker", &S::broker, "SPIFFE Broker API; not built")
          .allow_unknown();
  return schema;
}

hcl::Schema<AgentSection> sockets_and_server(hcl::Schema<AgentSection> schema) {
  using S = AgentSection;
  return std::move(schema)
      .key("data_dir", &S::data_dir, "folder of agent-data.json", {.default_text = "."})
      .key("server_address", &S::server_address, "DNS name or address of the server",
           {.required = false})
      .key("server_port", &S::server_port, "its port", {.min = 0, .max = 65535})
      .key("trust_domain", &S::trust_domain, "the agent's trust domain")
      .key("socket_path", &S::socket_path, "public socket, open to all",
           {.default_text = std::string(kDefaultSocketPath)})
      .key("admin_socket_path", &S::admin_socket_path, "admin socket; off when empty")
      .key("disable_workload_api", &S::disable_workload_api, "do not serve the Workload API")
      .key("disable_sds_api", &S::disable_sds_api, "do not serve Envoy SDS")
      .key("allow_unauthenticated_verifiers", &S::allow_unauthenticated_verifiers,
           "callers without an entry may fetch bundles")
      .key("allowed_foreign_jwt_claims", &S::allowed_foreign_jwt_claims,
           "claims of foreign tokens that ValidateJWTSVID passes on")
      .key("authorized_delegates", &S::authorized_delegates, "Delegated Identity API; not built")
      .block("sds", &S::sds, sds_schema());
}

hcl::Schema<AgentSection> bootstrap(hcl::Schema<AgentSection> schema) {
  using S = AgentSection;
  return std::move(schema)
      .key("insecure_bootstrap", &S::insecure_bootstrap, "trust the first server certificate")
      .key("trust_bundle_path", &S::trust_bundle_path, "file with the server's bundle")
      .key("trust_bundle_url", &S::trust_bundle_url, "https URL of the server's bundle")
      .key("trust_bundle_unix_socket", &S::trust_bundle_unix_socket,
           "Unix socket that trust_bundle_url is fetched through")
      .key("trust_bundle_spiffe_workload_api", &S::trust_bundle_spiffe_workload_api,
           "bundle from another agent; not built")
      .key("trust_bundle_format", &S::trust_bundle_format, "pem or spiffe", {.default_text = "pem"})
      .key("rebootstrap_mode", &S::rebootstrap_mode, "never; auto and always are not built",
           {.default_text = "never"})
      .key("rebootstrap_delay", &S::rebootstrap_delay, "before rebootstrapping",
           {.default_text = "10m"})
      .key("join_token", &S::join_token, "token from the server", {.secret = true})
      .key("join_token_file", &S::join_token_file, "file that holds the token");
}

hcl::Schema<AgentSection> credentials(hcl::Schema<AgentSection> schema) {
  using S = AgentSection;
  return std::move(schema)
      .key("workload_x509_svid_key_type", &S::workload_x509_svid_key_type,
           "ec-p256, ec-p384 or rsa-2048", {.default_text = "ec-p256"})
      .key("availability_target", &S::availability_target,
           "life that an X509-SVID must have left; at least 24h")
      .key("x509_svid_cache_max_size", &S::x509_svid_cache_max_size, "X509-SVIDs kept, soft limit",
           {.default_text = "1000"})
      .key("jwt_svid_cache_max_size", &S::jwt_svid_cache_max_size, "JWT-SVIDs kept, hard limit",
           {.default_text = "1000"})
      .key("log_selectors", &S::log_selectors, "selector types that may be logged")
      .include(&S::log, log_schema())
      .key("profiling_enabled", &S::profiling_enabled, "not built")
      .key("profiling_port", &S::profiling_port, "ignored")
      .key("profiling_freq", &S::profiling_freq, "ignored")
      .key("profiling_names", &S::profiling_names, "ignored")
      .block("experimental", &S::experimental, experimental_schema());
}

const hcl::Schema<AgentSection>& agent_section() {
  static const auto schema = credentials(bootstrap(
      sockets_and_server(hcl::Schema<AgentSection>("agent", "The agent's own settings."))));
  return schema;
}

}  // namespace

const hcl::Schema<AgentFile>& agent_file() {
  static const auto schema =
      hcl::Schema<AgentFile>("top-level", "agent.conf")
          .block("agent", &AgentFile::agent, agent_section())
          .key("plugins", &AgentFile::plugins, "KeyManager, NodeAttestor, WorkloadAttestor")
          .block("telemetry", &AgentFile::telemetry, telemetry_schema())
          .block("health_checks", &AgentFile::health_checks, health_schema());
  return schema;
}

const hcl::SchemaBase& agent_file_schema() { return agent_file(); }

}  // namespace steeple::agent
