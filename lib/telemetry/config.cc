// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/config.h"

#include <fmt/format.h>

namespace steeple {

const hcl::Schema<LogConfig>& log_schema() {
  static const auto schema =
      hcl::Schema<LogConfig>("log", "Logs.")
          .key("log_file", &LogConfig::file,
               "file to write logs to, reopened on SIGUSR2; standard output when empty")
          .key("log_level", &LogConfig::level, "panic, fatal, error, warn, info, debug or trace")
          .key("log_format", &LogConfig::format, "`text` or `json`")
          .key("log_source_location", &LogConfig::source_location,
               "whether lines carry the source file, line and function");
  return schema;
}

namespace {

const hcl::Schema<MetricsTlsConfig>& metrics_tls_schema() {
  static const auto schema =
      hcl::Schema<MetricsTlsConfig>("tls", "TLS of the metrics endpoint.")
          .key("cert_file", &MetricsTlsConfig::cert_file, "PEM certificate chain")
          .key("key_file", &MetricsTlsConfig::key_file, "PEM private key")
          .key("client_ca_file", &MetricsTlsConfig::client_ca_file,
               "PEM authorities that clients must present a certificate of")
          .key("use_spire_svid", &MetricsTlsConfig::use_spire_svid,
               "whether the own SVID is presented instead of cert_file")
          .key("authorized_spiffe_ids", &MetricsTlsConfig::authorized_spiffe_ids,
               "SPIFFE IDs that may read, by their X509-SVID")
          .allow_unknown();  // as the reference
  return schema;
}

const hcl::Schema<PrometheusConfig>& prometheus_schema() {
  static const auto schema =
      hcl::Schema<PrometheusConfig>("Prometheus", "Prometheus endpoint: every path is the page.")
          .key("host", &PrometheusConfig::host, "address to listen on")
          .key("port", &PrometheusConfig::port, "port to listen on", {.min = 0, .max = 65535})
          .block("tls", &PrometheusConfig::tls, metrics_tls_schema());
  return schema;
}

const hcl::Schema<StatsdConfig>& statsd_schema(const char* section) {
  auto make = [](const char* name) {
    return hcl::Schema<StatsdConfig>(name, "Metrics sent by UDP.")
        .key("address", &StatsdConfig::address, "host:port");
  };
  static const hcl::Schema<StatsdConfig> statsd = make("Statsd");
  static const hcl::Schema<StatsdConfig> dog_statsd = make("DogStatsd");
  return std::string_view(section) == "Statsd" ? statsd : dog_statsd;
}

const hcl::Schema<M3Config>& m3_schema() {
  static const auto schema = hcl::Schema<M3Config>("M3", "M3: not built, refused.")
                                 .key("address", &M3Config::address, "host:port")
                                 .key("env", &M3Config::env, "environment tag");
  return schema;
}

const hcl::Schema<InMemConfig>& in_mem_schema() {
  static const auto schema =
      hcl::Schema<InMemConfig>("InMem", "Metrics kept in memory and logged on SIGUSR1.");
  return schema;
}

// The reference takes client_ca_file beside use_spire_svid and does not heed it; here it counts.
Result<void> check_metrics_tls(const MetricsTlsConfig& tls) {
  if (tls.use_spire_svid && (!tls.cert_file.empty() || !tls.key_file.empty())) {
    return invalid_argument(
        "cert_file and key_file cannot be configured when use_spire_svid is enabled");
  }
  if (!tls.use_spire_svid && (tls.cert_file.empty() || tls.key_file.empty())) {
    return invalid_argument(
        "cert_file and key_file must both be configured unless use_spire_svid is enabled");
  }
  if (!tls.authorized_spiffe_ids.empty() && !tls.client_ca_file.empty()) {
    return invalid_argument("client_ca_file cannot be configured with authorized_spiffe_ids");
  }
  TRY(authorized_ids(tls));
  return {};
}

}  // namespace

const hcl::Schema<TelemetryConfig>& telemetry_schema() {
  static const auto schema =
      hcl::Schema<TelemetryConfig>("telemetry", "Where metrics go.")
          .block("Prometheus", &TelemetryConfig::prometheus, prometheus_schema())
          .blocks("DogStatsd", &TelemetryConfig::dog_statsd, statsd_schema("DogStatsd"))
          .blocks("Statsd", &TelemetryConfig::statsd, statsd_schema("Statsd"))
          .blocks("M3", &TelemetryConfig::m3, m3_schema())
          .block("InMem", &TelemetryConfig::in_mem, in_mem_schema())
          .key("MetricPrefix", &TelemetryConfig::metric_prefix, "prefix of all names",
               {.default_text = "spire_server or spire_agent"})
          .key("EnableTrustDomainLabel", &TelemetryConfig::enable_trust_domain_label,
               "whether metrics carry the label trust_domain")
          .key("EnableHostnameLabel", &TelemetryConfig::enable_hostname_label,
               "whether metrics carry the label host")
          .key("AllowedPrefixes", &TelemetryConfig::allowed_prefixes,
               "prefixes of metrics to keep, '.' between the words")
          .key("BlockedPrefixes", &TelemetryConfig::blocked_prefixes,
               "prefixes of metrics to leave out; the longest prefix decides")
          .key("AllowedLabels", &TelemetryConfig::allowed_labels, "the only labels to keep")
          .key("BlockedLabels", &TelemetryConfig::blocked_labels, "labels to leave out")
          .allow_unknown();  // as the reference
  return schema;
}

Result<void> check_telemetry(const TelemetryConfig& config) {
  if (!config.m3.empty()) {
    return unimplemented(
        "telemetry: the M3 sink is not built; use Prometheus, Statsd or DogStatsd");
  }
  if (!config.prometheus || !config.prometheus->tls) {
    return {};
  }
  return check_metrics_tls(*config.prometheus->tls).during(kMetricsTlsDoing);
}

Result<std::vector<spiffe::SpiffeId>> authorized_ids(const MetricsTlsConfig& config) {
  std::vector<spiffe::SpiffeId> ids;
  ids.reserve(config.authorized_spiffe_ids.size());
  for (const std::string& text : config.authorized_spiffe_ids) {
    ids.push_back(TRY(spiffe::SpiffeId::parse(text).during(
        fmt::format("invalid authorized SPIFFE ID \"{}\"", text))));
  }
  return ids;
}

const hcl::Schema<HealthConfig>& health_schema() {
  static const auto schema =
      hcl::Schema<HealthConfig>("health check", "HTTP listener for liveness and readiness.")
          .key("listener_enabled", &HealthConfig::listener_enabled, "whether it listens")
          .key("bind_address", &HealthConfig::bind_address, "address to listen on")
          .key("bind_port", &HealthConfig::bind_port, "port to listen on")
          .key("live_path", &HealthConfig::live_path, "path of liveness")
          .key("ready_path", &HealthConfig::ready_path, "path of readiness");
  return schema;
}

}  // namespace steeple
