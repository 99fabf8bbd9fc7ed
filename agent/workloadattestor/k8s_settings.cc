// SPDX-License-Identifier: Apache-2.0

// Settings of the `k8s` workload attestor.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>

#include "agent/workloadattestor/k8s_attestor.h"
#include "lib/hcl/schema.h"

namespace steeple::agent {
namespace {

constexpr int kSecurePort = 10250;
constexpr std::string_view kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr const char* kNodeNameVariable = "MY_NODE_NAME";

struct CacheConfig {
  bool enabled = false;
};
struct ApiServerConfig {
  CacheConfig cache;
};
struct ExperimentalConfig {
  ApiServerConfig api_server;
  std::optional<hcl::Value> broker;
};

struct K8sConfig {
  int kubelet_read_only_port = 0;
  int kubelet_secure_port = 0;
  bool disable_kubelet_client = false;
  int max_poll_attempts = 0;
  Duration poll_retry_interval{};
  std::string kubelet_ca_path;
  bool skip_kubelet_verification = false;
  std::string token_path;
  std::string certificate_path;
  std::string private_key_path;
  bool use_anonymous_authentication = false;
  std::string node_name_env;
  std::string node_name;
  Duration reload_interval{};
  bool disable_container_selectors = false;
  bool use_new_container_locator = true;
  bool verbose_container_locator_logs = false;
  bool enable_namespace_labels = false;
  std::optional<hcl::Value> sigstore;
  ExperimentalConfig experimental;
};

const hcl::Schema<ExperimentalConfig>& experimental_schema() {
  static const auto cache = hcl::Schema<CacheConfig>("cache", "Objects of the API server.")
                                .key("enabled", &CacheConfig::enabled, "follow them by a watch");
  static const auto api_server = hcl::Schema<ApiServerConfig>("api_server", "The API server.")
                                     .block("cache", &ApiServerConfig::cache, cache);
  static const auto schema =
      hcl::Schema<ExperimentalConfig>("experimental", "Experimental settings.")
          .block("api_server", &ExperimentalConfig::api_server, api_server)
          .key("broker", &ExperimentalConfig::broker, "the SPIFFE Broker API; not built");
  return schema;
}

const hcl::Schema<K8sConfig>& schema() {
  using C = K8sConfig;
  static const auto schema =
      hcl::Schema<C>("k8s", "Selectors from the pod of a process.")
          .key("kubelet_read_only_port", &C::kubelet_read_only_port,
               "the kubelet's port without TLS (10255)")
          .key("kubelet_secure_port", &C::kubelet_secure_port, "the kubelet's port",
               {.default_text = "10250"})
          .key("disable_kubelet_client", &C::disable_kubelet_client,
               "never ask the kubelet; processes cannot be attested then")
          .key("max_poll_attempts", &C::max_poll_attempts,
               "lists of pods in which a container is looked for", {.default_text = "60"})
          .key("poll_retry_interval", &C::poll_retry_interval,
               "least time between two requests to the kubelet", {.default_text = "500ms"})
          .key("kubelet_ca_path", &C::kubelet_ca_path, "CAs of the kubelet's certificate",
               {.default_text = "ca.crt of the service account"})
          .key("skip_kubelet_verification", &C::skip_kubelet_verification,
               "take any certificate of the kubelet")
          .key("token_path", &C::token_path, "bearer token for the kubelet",
               {.default_text = "token of the service account"})
          .key("certificate_path", &C::certificate_path, "client certificate for the kubelet")
          .key("private_key_path", &C::private_key_path, "its key")
          .key("use_anonymous_authentication", &C::use_anonymous_authentication,
               "show the kubelet no credentials")
          .key("node_name_env", &C::node_name_env, "variable that names the node",
               {.default_text = kNodeNameVariable})
          .key("node_name", &C::node_name,
               "name or address of the node; without any the kubelet is at 127.0.0.1")
          .key("reload_interval", &C::reload_interval, "how often credentials are read again",
               {.default_text = "1m"})
          .key("disable_container_selectors", &C::disable_container_selectors,
               "selectors of the pod only, which do not wait for the container's")
          .key("use_new_container_locator", &C::use_new_container_locator,
               "false: find containers by cgroups of known shapes only")
          .key("verbose_container_locator_logs", &C::verbose_container_locator_logs,
               "log where containers were found")
          .key("enable_namespace_labels", &C::enable_namespace_labels,
               "labels of the namespace, too, from the API server")
          .key("sigstore", &C::sigstore, "signatures of images; not built")
          .block("experimental", &C::experimental, experimental_schema());
  return schema;
}

std::vector<std::string> problems_of(const K8sConfig& config) {
  std::vector<std::string> out;
  if (config.kubelet_secure_port > 0 && config.kubelet_read_only_port > 0) {
    out.emplace_back("cannot use both the read-only and secure port");
  }
  if (config.kubelet_secure_port > 65535 || config.kubelet_read_only_port > 65535) {
    out.emplace_back("kubelet ports end at 65535");
  }
  if (!config.use_anonymous_authentication &&
      config.certificate_path.empty() != config.private_key_path.empty()) {
    out.emplace_back(config.private_key_path.empty()
                         ? "the private key path is required with the certificate path"
                         : "the certificate path is required with the private key path");
  }
  if (!config.disable_kubelet_client) {
    return out;
  }
  auto conflict = [&out](const char* key, bool set) {
    if (set) {
      out.push_back(fmt::format("disable_kubelet_client cannot be used with {}", key));
    }
  };
  conflict("kubelet_read_only_port", config.kubelet_read_only_port > 0);
  conflict("kubelet_secure_port", config.kubelet_secure_port > 0);
  conflict("kubelet_ca_path", !config.kubelet_ca_path.empty());
  conflict("skip_kubelet_verification", config.skip_kubelet_verification);
  conflict("token_path", !config.token_path.empty());
  conflict("certificate_path", !config.certificate_path.empty());
  conflict("private_key_path", !config.private_key_path.empty());
  conflict("use_anonymous_authentication", config.use_anonymous_authentication);
  conflict("node_name_env", !config.node_name_env.empty());
  conflict("node_name", !config.node_name.empty());
  conflict("reload_interval", config.reload_interval != Duration::zero());
  return out;
}

std::string or_default(const std::string& given, std::string_view file) {
  return given.empty() ? fmt::format("{}/{}", kServiceAccount, file) : given;
}

kube::AccessConfig kubelet_access(const K8sConfig& config, const kube::Environment& environment) {
  kube::AccessConfig out;
  if (config.kubelet_read_only_port > 0) {
    out.server = fmt::format("http://127.0.0.1:{}", config.kubelet_read_only_port);
    out.plain_http = true;
    return out;
  }
  std::string node = config.node_name;
  if (node.empty()) {
    const char* variable =
        config.node_name_env.empty() ? kNodeNameVariable : config.node_name_env.c_str();
    node = environment(variable).value_or("");
  }
  // Without a name only the chain can be verified: no kubelet has a certificate for 127.0.0.1.
  out.verify_chain = !config.skip_kubelet_verification;
  out.verify_name = out.verify_chain && !node.empty();
  if (node.empty()) {
    node = "127.0.0.1";
  } else if (node.contains(':') && !node.starts_with('[')) {
    node = '[' + node + ']';  // IPv6
  }
  out.server =
      fmt::format("https://{}:{}", node,
                  config.kubelet_secure_port > 0 ? config.kubelet_secure_port : kSecurePort);
  if (out.verify_chain) {
    out.ca_file = or_default(config.kubelet_ca_path, "ca.crt");
  }
  if (config.use_anonymous_authentication) {
    return out;
  }
  if (!config.certificate_path.empty()) {
    out.cert_file = config.certificate_path;
    out.key_file = config.private_key_path;
  } else {
    out.token_file = or_default(config.token_path, "token");
  }
  if (config.reload_interval > Duration::zero()) {
    out.file_age_max = config.reload_interval;
  }
  return out;
}

}  // namespace

Result<K8sAttestorOptions> k8s_attestor_options(const hcl::Value& data,
                                                const kube::Environment& environment) {
  K8sConfig config = TRY(schema().decode(data).during("unable to decode configuration"));
  if (config.sigstore) {
    return unimplemented("sigstore is not supported by this agent");
  }
  if (config.experimental.broker) {
    return unimplemented("experimental.broker is not supported by this agent");
  }
  if (auto problems = problems_of(config); !problems.empty()) {
    return invalid_argument(fmt::format("{}", fmt::join(problems, "; ")));
  }
  K8sAttestorOptions out;
  if (!config.disable_kubelet_client) {
    out.kubelet = kubelet_access(config, environment);
  }
  if (config.max_poll_attempts > 0) {
    out.poll_attempts_max = config.max_poll_attempts;
  }
  if (config.poll_retry_interval > Duration::zero()) {
    out.poll_interval = config.poll_retry_interval;
  }
  out.container_selectors = !config.disable_container_selectors;
  out.namespace_labels = config.enable_namespace_labels;
  out.follow_namespaces = config.experimental.api_server.cache.enabled;
  out.legacy_locator = !config.use_new_container_locator;
  out.verbose_locator = config.verbose_container_locator_logs;
  return out;
}

}  // namespace steeple::agent
