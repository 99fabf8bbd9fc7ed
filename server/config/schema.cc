// SPDX-License-Identifier: Apache-2.0

// Every key of server.conf, declared once.

#include "lib/hcl/schema.h"

#include "server/config/config.h"

namespace steeple::server {
namespace {

constexpr std::int64_t kPortMax = 65'535;

Result<crypto::KeyType> key_type(const std::string& text) { return crypto::parse_key_type(text); }
Result<std::optional<crypto::KeyType>> optional_key_type(const std::string& text) {
  return std::optional(TRY(crypto::parse_key_type(text)));
}

const hcl::Schema<CaSubjectConfig>& ca_subject_schema() {
  static const auto schema =
      hcl::Schema<CaSubjectConfig>("ca_subject", "Subject of the X.509 CA certificate.")
          .key("country", &CaSubjectConfig::country, "C attributes")
          .key("organization", &CaSubjectConfig::organization, "O attributes")
          .key("common_name", &CaSubjectConfig::common_name, "CN attribute");
  return schema;
}

const hcl::Schema<RateLimitConfig>& ratelimit_schema() {
  static const auto schema = hcl::Schema<RateLimitConfig>("ratelimit", "Limits per client address.")
                                 .key("attestation", &RateLimitConfig::attestation,
                                      "limit node attestation to one attempt a second")
                                 .key("signing", &RateLimitConfig::signing,
                                      "limit signing of X.509 and JWT identities to 500 a second");
  return schema;
}

const hcl::Schema<ExperimentalConfig>& experimental_schema() {
  using C = ExperimentalConfig;
  static const auto schema =
      hcl::Schema<C>("experimental", "Settings of the reference that are marked experimental.")
          .key("agent_spiffe_id_as_selector", &C::agent_spiffe_id_as_selector,
               "give every agent the selector spiffe_id:<its id>")
          .key("auth_opa_policy_engine", &C::auth_opa_policy_engine,
               "custom authorization policy; not built, refused")
          .key("cache_reload_interval", &C::cache_reload_interval,
               "how often changes by other processes on the database are looked for, 5s")
          .key("full_cache_reload_interval", &C::full_cache_reload_interval,
               "how often all entries and agents are read anew, 24h")
          .key("events_based_cache", &C::events_based_cache, "without effect: always on")
          .key("prune_events_older_than", &C::prune_events_older_than,
               "how long rows of the event tables are kept")
          .key("event_timeout", &C::event_timeout,
               "how long event ids that were passed over are waited for, 15m")
          .key("sql_transaction_timeout", &C::sql_transaction_timeout, "old name of event_timeout",
               {.deprecated = "experimental.event_timeout"})
          .key("require_pq_kem", &C::require_pq_kem,
               "post-quantum TLS groups only; this OpenSSL has none, refused")
          .key("wit_key_type", &C::wit_key_type, "WIT-SVID signing key; not built, refused")
          .key("wit_issuer", &C::wit_issuer, "WIT-SVID issuer; not built, refused")
          .key("feature_flags", &C::feature_flags, "developer flags")
          .key("named_pipe_name", &C::named_pipe_name, "Windows only")
          .allow_unknown();
  return schema;
}

const hcl::Schema<ServerSection>& server_schema() {
  using S = ServerSection;
  static const auto schema =
      hcl::Schema<S>("server", "The server's own settings.")
          .key("admin_ids", &S::admin_ids, "SPIFFE IDs whose SVIDs are admin callers")
          .key("agent_ttl", &S::agent_ttl, "lifetime of agent SVIDs",
               {.default_text = "default_x509_svid_ttl"})
          .key("audit_log_enabled", &S::audit_log_enabled, "log every call of the APIs")
          .key("bind_address", &S::bind_address, "address of the TCP endpoint")
          .key("bind_port", &S::bind_port, "port of the TCP endpoint", {.min = 0, .max = kPortMax})
          .parsed<crypto::KeyType>("ca_key_type", &S::ca_key_type, key_type,
                                   "rsa-2048, rsa-4096, ec-p256 or ec-p384",
                                   {.default_text = "ec-p256"})
          .parsed<std::optional<crypto::KeyType>>("jwt_key_type", &S::jwt_key_type,
                                                  optional_key_type, "as ca_key_type",
                                                  {.default_text = "ca_key_type"})
          .block("ca_subject", &S::ca_subject, ca_subject_schema())
          .key("ca_ttl", &S::ca_ttl, "lifetime of the CA and of JWT keys", {.min = 1})
          .key("data_dir", &S::data_dir, "folder of the server's files")
          .key("default_x509_svid_ttl", &S::default_x509_svid_ttl,
               "lifetime of X509-SVIDs whose entry names none", {.min = 1})
          .key("default_jwt_svid_ttl", &S::default_jwt_svid_ttl,
               "lifetime of JWT-SVIDs whose entry names none", {.min = 1})
          .key("disable_jwt_svids", &S::disable_jwt_svids, "no JWT keys, JWT calls are refused")
          .key("jwt_issuer", &S::jwt_issuer, "iss claim of JWT-SVIDs")
          .include(&S::log, log_schema())
          .key("max_attested_node_info_staleness", &S::max_attested_node_info_staleness,
               "how old a cached agent record may be when it authorizes a call", {.min = 0})
          .key("profiling_enabled", &S::profiling_enabled, "profiling; not built, refused")
          .key("profiling_port", &S::profiling_port, "profiling")
          .key("profiling_freq", &S::profiling_freq, "profiling")
          .key("profiling_names", &S::profiling_names, "profiling")
          .key("proxy_protocol_trusted_cidrs", &S::proxy_protocol_trusted_cidrs,
               "peers whose PROXY protocol header names the client")
          .key("prune_attested_nodes_expired_for", &S::prune_attested_nodes_expired_for,
               "delete agents that expired longer ago", {.default_text = "off"})
          .key("prune_attested_nodes_batch_size", &S::prune_attested_nodes_batch_size,
               "how many at a time", {.min = 1})
          .key("prune_tofu_nodes", &S::prune_tofu_nodes, "also those that cannot attest again")
          .block("ratelimit", &S::ratelimit, ratelimit_schema())
          .key("socket_path", &S::socket_path, "the admin Unix socket")
          .key("trust_domain", &S::trust_domain, "name of the trust domain")
          .block("federation", &S::federation, federation_schema())
          .block("experimental", &S::experimental, experimental_schema());
  return schema;
}

}  // namespace

const hcl::Schema<ServerFile>& schema() {
  static const auto schema =
      hcl::Schema<ServerFile>("top-level", "server.conf")
          .block("server", &ServerFile::server, server_schema())
          .key("plugins", &ServerFile::plugins, "the plugins")
          .block("telemetry", &ServerFile::telemetry, telemetry_schema())
          .block("health_checks", &ServerFile::health_checks, health_schema());
  return schema;
}

}  // namespace steeple::server
