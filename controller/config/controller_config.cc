// SPDX-License-Identifier: Apache-2.0

#include "controller/config/controller_config.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "controller/config/fields.h"
#include "lib/base/limits.h"
#include "lib/gotemplate/template.h"
#include "lib/hcl/parse.h"
#include "lib/io/directory.h"
#include "lib/kube/yaml.h"
#include "spiffe/trust_domain.h"

namespace steeple::controller {

using nlohmann::json;

namespace {

constexpr std::string_view kDefaultSocket = "/spire-server/api.sock";
constexpr Duration kDefaultGcInterval = std::chrono::seconds(10);
constexpr Duration kNanosecond = Duration(1);

void read_reconcile(Fields& top, ReconcileConfig& out) {
  const json* object = top.object("reconcile");
  if (object == nullptr) {
    return;
  }
  // Whoever writes the block lists what he wants.
  out = {false, false, false};
  Fields fields(object, "reconcile", top.findings());
  fields.read("clusterSPIFFEIDs", out.spiffe_ids);
  fields.read("clusterFederatedTrustDomains", out.federated_trust_domains);
  fields.read("clusterStaticEntries", out.static_entries);
}

void read_leader_election(Fields& top, LeaderElectionConfig& out) {
  const json* object = top.object("leaderElection");
  if (object == nullptr) {
    return;
  }
  Fields fields(object, "leaderElection", top.findings());
  fields.read("leaderElect", out.enabled);
  fields.read("resourceName", out.name);
  fields.read("resourceNamespace", out.name_space);
  fields.read_duration("leaseDuration", out.lease_duration, kNanosecond);
  fields.read_duration("renewDeadline", out.renew_deadline, kNanosecond);
  fields.read_duration("retryPeriod", out.retry_period, kNanosecond);
  std::string lock = "leases";
  fields.read("resourceLock", lock);
  if (lock != "leases" && !lock.empty()) {
    top.findings().problem("leaderElection.resourceLock", "only \"leases\" is supported");
  }
  if (out.enabled && out.name.empty()) {
    top.findings().problem("leaderElection.resourceName", "is required for leader election");
  }
  if (out.renew_deadline >= out.lease_duration) {
    top.findings().problem("leaderElection.leaseDuration", "must be greater than renewDeadline");
  }
}

std::map<std::string, std::string> read_text_map(Fields& fields, const char* name) {
  std::map<std::string, std::string> out;
  if (const json* object = fields.object(name)) {
    for (const auto& [key, value] : object->items()) {
      if (value.is_string()) {
        out.emplace(key, value.get_ref<const std::string&>());
      } else {
        fields.findings().problem(fields.path_of(name) + "." + key, "must be a string");
      }
    }
  }
  return out;
}

void read_cache(Fields& top, ControllerConfig& out) {
  std::string single;
  top.read("cacheNamespace", single);
  const json* many = top.object("cacheNamespaces");
  if (!single.empty() && many != nullptr && !many->empty()) {
    top.findings().problem("cacheNamespace",
                           "cacheNamespace or cacheNamespaces can be used, but not both");
  }
  if (!single.empty()) {
    out.cache_namespaces[single] = {};
  }
  if (many != nullptr) {
    for (const auto& [name, value] : many->items()) {
      Fields fields(&value, "cacheNamespaces." + name, top.findings());
      CacheSelectors selectors;
      selectors.labels = read_text_map(fields, "labelSelectors");
      selectors.fields = read_text_map(fields, "fieldSelectors");
      out.cache_namespaces[name] = std::move(selectors);
    }
  }
}

// A name like "readyz" or "/readyz".
std::string as_path(std::string name) { return name.starts_with('/') ? name : "/" + name; }

void read_servers(Fields& top, LoadedConfig& loaded) {
  ControllerConfig& out = loaded.config;
  {
    Fields fields(top.object("metrics"), "metrics", top.findings());
    fields.read("bindAddress", out.metrics_address);
    if (out.metrics_address.empty()) {
      out.metrics_address = ":8080";
    }
  }
  {
    Fields fields(top.object("health"), "health", top.findings());
    fields.read("healthProbeBindAddress", out.health_address);
    fields.read("readinessEndpointName", out.readiness_path);
    fields.read("livenessEndpointName", out.liveness_path);
    out.readiness_path = as_path(out.readiness_path);
    out.liveness_path = as_path(out.liveness_path);
  }
  Fields fields(top.object("webhook"), "webhook", top.findings());
  std::int64_t port = out.webhook_port;
  fields.read("port", port);
  if (port < 0 || port > 65535) {
    top.findings().problem("webhook.port", "must be a port number");
  } else {
    out.webhook_port = port == 0 ? 9443 : static_cast<int>(port);
  }
  fields.read("host", out.webhook_host);
  std::string folder;
  fields.read("certDir", folder);
  if (!folder.empty()) {
    loaded.warnings.emplace_back(
        "webhook.certDir is ignored: the certificate comes from the SPIRE server");
  }
}

void read_deletion_limit(Fields& top, DeletionLimit& out) {
  const json* value = top.any("maxForeignDeletions");
  if (value == nullptr) {
    return;
  }
  if (value->is_number_unsigned()) {
    out = {.is_share = false, .share = 0, .count = value->get<std::size_t>()};
    return;
  }
  if (value->is_string()) {
    const std::string& text = value->get_ref<const std::string&>();
    unsigned percent = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
    if (error == std::errc() && percent <= 100 && end + 1 == text.data() + text.size() &&
        *end == '%') {
      out = {.is_share = true, .share = percent / 100.0, .count = 0};
      return;
    }
  }
  top.findings().problem("maxForeignDeletions",
                         "must be a number of entries or a share like \"50%\"");
}

void read_prefixes(Fields& top, ControllerConfig& out) {
  auto with_dot = [](std::string text) {
    return text.empty() || text.ends_with('.') ? text : text + ".";
  };
  top.read("entryIDPrefix", out.entry_id_prefix);
  out.entry_id_prefix = with_dot(out.entry_id_prefix);
  if (top.any("entryIDPrefixCleanup") != nullptr) {
    std::string text;
    top.read("entryIDPrefixCleanup", text);
    out.entry_id_prefix_cleanup = with_dot(text);
    if (!out.entry_id_prefix.empty() && out.entry_id_prefix == out.entry_id_prefix_cleanup) {
      top.findings().problem("entryIDPrefixCleanup", "must differ from entryIDPrefix");
    }
  }
}

// Keys that say nothing to a program that keeps its objects current by watches alone.
void skip_runtime_keys(Fields& top) {
  Duration ignored{};
  top.read_duration("syncPeriod", ignored, kNanosecond);
  top.skip("controller");
  top.skip("metadata");
  // Entries are rendered when what they are made of changes, so there is nothing to cache.
  bool cache = false;
  std::int64_t size = 0;
  top.read("enableEntryRenderCache", cache);
  top.read("entryRenderCacheSize", size);
}

void read_all(const json& document, LoadedConfig& loaded, Findings& findings) {
  ControllerConfig& out = loaded.config;
  Fields top(&document, "", findings);
  std::string api_version, kind;
  top.read("apiVersion", api_version);
  top.read("kind", kind);
  if (api_version != kApiVersion) {
    findings.problem("apiVersion", fmt::format("must be \"{}\"", kApiVersion));
  }
  if (kind != "ControllerManagerConfig") {
    findings.problem("kind", "must be \"ControllerManagerConfig\"");
  }
  top.read("clusterName", out.cluster_name);
  top.read("clusterDomain", out.cluster_domain);
  top.read("trustDomain", out.trust_domain);
  top.read("ignoreNamespaces", out.ignore_namespaces);
  top.read("validatingWebhookConfigurationName", out.webhook_configuration);
  // The reference takes nanoseconds only; durations as text are ours.
  top.read_duration("gcInterval", out.gc_interval, kNanosecond);
  if (out.gc_interval == Duration::zero()) {
    out.gc_interval = kDefaultGcInterval;
  }
  top.read("spireServerSocketPath", out.server_socket);
  top.read("logLevel", out.log_level);
  top.read("logEncoding", out.log_encoding);
  top.read("className", out.class_name);
  top.read("watchClassless", out.watch_classless);
  top.read("parentIDTemplate", out.parent_id_template);
  std::string manifests;
  if (top.any("staticManifestPath") != nullptr) {
    top.read("staticManifestPath", manifests);
    out.static_manifest_path = manifests;
    out.reconcile.spiffe_ids = false;
  }
  top.read("expandEnvStaticManifests", out.expand_env_static_manifests);
  read_reconcile(top, out.reconcile);
  read_leader_election(top, out.leader_election);
  read_cache(top, out);
  read_prefixes(top, out);
  top.read_duration("gracefulShutDown", out.graceful_shutdown, kNanosecond);
  {
    Fields fields(top.object("grpc"), "grpc", findings);
    std::int64_t bytes = 0;
    fields.read("maxCallRecvMsgSize", bytes);
    if (bytes > 0) {
      out.grpc_message_bytes_max = static_cast<std::size_t>(bytes);
    }
  }
  read_servers(top, loaded);
  read_deletion_limit(top, out.max_foreign_deletions);
  top.read("podAnnotation", out.spiffe_id_annotation);
  skip_runtime_keys(top);
}

void choose_socket(const ControllerFlags& flags, LoadedConfig& loaded) {
  std::string& socket = loaded.config.server_socket;
  if (!flags.spire_api_socket.empty() && socket.empty()) {
    loaded.warnings.emplace_back(
        "The spire-api-socket flag is deprecated and will be removed in a future release; use the "
        "configuration file instead");
    socket = flags.spire_api_socket;
  } else if (!flags.spire_api_socket.empty()) {
    loaded.warnings.emplace_back(
        "Ignoring deprecated spire-api-socket flag which will be removed in a future release");
  }
  if (socket.empty()) {
    socket = kDefaultSocket;
  }
}

void check(const ControllerConfig& config, Findings& findings) {
  if (config.trust_domain.empty()) {
    findings.problem("trustDomain", "trust domain is required configuration");
  } else if (auto parsed = spiffe::TrustDomain::parse(config.trust_domain); !parsed.ok()) {
    findings.problem("trustDomain", parsed.error().message);
  }
  if (config.cluster_name.empty()) {
    findings.problem("clusterName", "cluster name is required configuration");
  }
  if (config.webhook_configuration.empty()) {
    findings.problem("validatingWebhookConfigurationName",
                     "validating webhook configuration name is required configuration");
  }
  if (config.static_manifest_path && config.leader_election.enabled) {
    findings.problem("leaderElection", "leader election is not possible with static manifests");
  }
  if (config.static_manifest_path && config.reconcile.spiffe_ids) {
    findings.problem("reconcile.clusterSPIFFEIDs",
                     "ClusterSPIFFEID reconciliation is not possible with static manifests");
  }
  if (config.log_encoding != "console" && config.log_encoding != "json") {
    findings.problem("logEncoding",
                     fmt::format("unrecognized log encoding: {}", config.log_encoding));
  }
  static constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
  std::string level = config.log_level;
  for (char& c : level) {
    c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  if (std::ranges::find(kLevels, level) == std::end(kLevels)) {
    findings.problem("logLevel", fmt::format("invalid log level: \"{}\"", config.log_level));
  }
  if (!config.parent_id_template.empty()) {
    auto parsed = gotemplate::Template::parse("customParentIDTemplate", config.parent_id_template);
    if (!parsed.ok()) {
      findings.problem("parentIDTemplate", parsed.error().message);
    }
  }
}

}  // namespace

bool DeletionLimit::allows(std::size_t deletions, std::size_t all_entries) const {
  if (!is_share) {
    return deletions <= count;
  }
  return deletions <= kFree ||
         static_cast<double>(deletions) <= share * static_cast<double>(all_entries);
}

std::string DeletionLimit::text() const {
  return is_share ? fmt::format("{:.0f}%", share * 100) : fmt::format("{}", count);
}

Result<LoadedConfig> parse_config(std::string_view text, const ControllerFlags& flags,
                                  const Environment& environment) {
  LoadedConfig loaded;
  std::string expanded;
  if (flags.expand_env) {
    expanded = hcl::expand_env(text, environment);
    text = expanded;
  }
  Findings findings;
  json document = TRY(kube::parse_yaml(text));
  if (!flags.config_path.empty() || !document.is_null()) {
    read_all(document, loaded, findings);
  }
  if (!flags.zap_log_level.empty()) {
    loaded.config.log_level = flags.zap_log_level;
  }
  if (!flags.zap_encoder.empty()) {
    loaded.config.log_encoding = flags.zap_encoder;
  }
  choose_socket(flags, loaded);
  check(loaded.config, findings);
  TRY(findings.result());
  loaded.unknown_keys = std::move(findings.unknown);
  return loaded;
}

Result<LoadedConfig> load_config(const ControllerFlags& flags, const Environment& environment) {
  Bytes text;
  if (!flags.config_path.empty()) {
    text = TRY(io::read_file(flags.config_path, limits::kConfigBytesMax)
                   .during("unable to load the config file"));
  }
  return parse_config(text, flags, environment).during("unable to load the config file");
}

}  // namespace steeple::controller
