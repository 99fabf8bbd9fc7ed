// SPDX-License-Identifier: Apache-2.0

// Settings that server and agent share: log keys, telemetry{} and health_checks{}. Plain data;
// the schemas decode it. The keys and defaults are SPIRE's.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/hcl/schema.h"
#include "spiffe/spiffe_id.h"

namespace steeple {

// log_file, log_level, log_format, log_source_location: keys of server{} and agent{}, so their
// schemas `include` this one.
struct LogConfig {
  std::string file = {};  // empty: standard output
  std::string level = "INFO";
  std::string format = {};  // "text", "json"; empty: text with whole seconds
  bool source_location = false;
};
const hcl::Schema<LogConfig>& log_schema();

struct MetricsTlsConfig {
  std::string cert_file = {};
  std::string key_file = {};
  std::string client_ca_file = {};
  bool use_spire_svid = false;
  std::vector<std::string> authorized_spiffe_ids = {};
};

struct PrometheusConfig {
  std::string host = "localhost";
  int port = 0;
  std::optional<MetricsTlsConfig> tls = {};
};

struct StatsdConfig {
  std::string address = {};
};

struct M3Config {
  std::string address = {};
  std::string env = {};
};

struct InMemConfig {};

struct TelemetryConfig {
  std::optional<PrometheusConfig> prometheus = {};
  std::vector<StatsdConfig> dog_statsd = {};
  std::vector<StatsdConfig> statsd = {};
  std::vector<M3Config> m3 = {};
  std::optional<InMemConfig> in_mem = {};
  std::string metric_prefix = {};  // empty: spire_server or spire_agent
  bool enable_trust_domain_label = false;
  bool enable_hostname_label = true;
  std::vector<std::string> allowed_prefixes = {};
  std::vector<std::string> blocked_prefixes = {};
  std::optional<std::vector<std::string>> allowed_labels = {};  // set but empty: no label passes
  std::vector<std::string> blocked_labels = {};

  bool any_sink() const {
    return prometheus || !dog_statsd.empty() || !statsd.empty() || !m3.empty() || in_mem;
  }
};
const hcl::Schema<TelemetryConfig>& telemetry_schema();

// What stands before an error of tls{}.
inline constexpr std::string_view kMetricsTlsDoing = "failed to create TLS config for Prometheus";
// The parsed authorized_spiffe_ids.
Result<std::vector<spiffe::SpiffeId>> authorized_ids(const MetricsTlsConfig& config);
// What the schema cannot say: the rules of the tls keys, and sinks that are not built (M3).
Result<void> check_telemetry(const TelemetryConfig& config);

struct HealthConfig {
  bool listener_enabled = false;
  std::string bind_address = "localhost";
  std::string bind_port = "80";
  std::string live_path = "/live";
  std::string ready_path = "/ready";
};
const hcl::Schema<HealthConfig>& health_schema();

}  // namespace steeple
