// SPDX-License-Identifier: Apache-2.0

#include "server/bundlepublisher/k8s_configmap.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/hcl/schema.h"
#include "lib/jose/bundle_document.h"
#include "lib/x509/certificate.h"
#include "server/bundlepublisher/cluster_round.h"
#include "server/upstreamauthority/plugin_settings.h"

namespace steeple::server {
namespace {

constexpr std::string_view kName = "k8s_configmap";
constexpr std::string_view kFieldManager = "spire-bundlepublisher-k8s_configmap";

struct ClusterConfig {
  std::string configmap_name;
  std::string configmap_key;
  std::string name_space;
  std::string kubeconfig_path;
  std::string format;
  Duration refresh_hint{};
};
struct PublisherConfig {
  std::vector<std::pair<std::string, ClusterConfig>> clusters;
};

const hcl::Schema<PublisherConfig>& schema() {
  using C = ClusterConfig;
  static const auto cluster =
      hcl::Schema<C>("k8s_configmap cluster", "One cluster that gets the bundle.")
          .key("configmap_name", &C::configmap_name, "name of the ConfigMap")
          .key("configmap_key", &C::configmap_key, "key in it")
          .key("namespace", &C::name_space, "its namespace")
          .key("kubeconfig_path", &C::kubeconfig_path,
               "kubeconfig of the cluster; empty: the one that the server runs in")
          .key("format", &C::format, "spiffe, jwks or pem")
          .key("refresh_hint", &C::refresh_hint, "how often readers should look");
  static const auto schema =
      hcl::Schema<PublisherConfig>("BundlePublisher \"k8s_configmap\"", "The bundle in ConfigMaps.")
          .labelled("clusters", &PublisherConfig::clusters, cluster);
  return schema;
}

Result<ConfigMapCluster> checked(const std::string& id, const ClusterConfig& config) {
  auto missing = [&id](std::string_view what) {
    return invalid_argument(fmt::format("missing {} in cluster \"{}\"", what, id));
  };
  if (config.format.empty()) {
    return missing("bundle format");
  }
  if (config.name_space.empty()) {
    return missing("namespace");
  }
  if (config.configmap_name.empty()) {
    return missing("configmap name");
  }
  if (config.configmap_key.empty()) {
    return missing("configmap key");
  }
  auto format =
      TRY(parse_bundle_format(config.format)
              .during(fmt::format("could not parse bundle format from cluster \"{}\"", id)));
  return ConfigMapCluster{.configmap_name = config.configmap_name,
                          .configmap_key = config.configmap_key,
                          .name_space = config.name_space,
                          .kubeconfig = config.kubeconfig_path,
                          .format = format,
                          .refresh_hint = config.refresh_hint};
}

class ConfigMapPublisher final : public BundleTarget {
 public:
  ConfigMapPublisher(const ConfigMapClusters& clusters, const kube::LazyClientDeps& kube,
                     Logger log)
      : log_(std::move(log)) {
    for (const auto& [id, settings] : clusters) {
      clusters_.push_back(std::make_unique<Cluster>(id, settings, kube));
    }
  }

  std::string_view type() const override { return "BundlePublisher"; }
  std::string_view name() const override { return kName; }

  void put(const BundlePtr& bundle, std::move_only_function<void(Result<void>)> done) override {
    round_.begin(clusters_.size(), std::move(done));
    for (const auto& cluster : clusters_) {
      apply(*cluster, *bundle);
    }
    round_.ended();
  }

 private:
  struct Cluster {
    Cluster(std::string name, ConfigMapCluster how, const kube::LazyClientDeps& kube)
        : id(std::move(name)), settings(std::move(how)), lazy(settings.kubeconfig, kube) {}
    const std::string id;
    const ConfigMapCluster settings;
    kube::LazyClient lazy;
    std::string content;  // as last put there
    std::shared_ptr<kube::Client> client;
    kube::CallPtr call;
  };

  void apply(Cluster& cluster, jose::Bundle bundle) {
    if (cluster.settings.refresh_hint != Duration::zero()) {
      bundle.refresh_hint = cluster.settings.refresh_hint;
    }
    auto content = format_bundle(bundle, cluster.settings.format);
    if (!content.ok()) {
      round_.failed(fmt::format("could not format bundle when publishing to cluster \"{}\": {}",
                                cluster.id, content.error().message));
      return;
    }
    if (*content == cluster.content) {
      round_.ended();
      return;
    }
    auto client = cluster.lazy.get();
    if (!client.ok()) {
      round_.failed(fmt::format("failed to create Kubernetes client for cluster \"{}\": {}",
                                cluster.id, client.error().message));
      return;
    }
    cluster.client = std::move(*client);
    const ConfigMapCluster& to = cluster.settings;
    nlohmann::json object = {
        {"apiVersion", "v1"},
        {"kind", "ConfigMap"},
        {"metadata", {{"name", to.configmap_name}, {"namespace", to.name_space}}},
        {"data", {{to.configmap_key, *content}}}};
    cluster.call =
        cluster.client->patch({kube::kConfigMaps, to.name_space, to.configmap_name}, object,
                              {.type = kube::PatchType::kApply,
                               .field_manager = std::string(kFieldManager),
                               .force = true},
                              [this, &cluster, content = std::move(*content)](
                                  const Result<kube::ObjectPtr>& how) mutable {
                                applied(cluster, std::move(content), how);
                              });
  }

  void applied(Cluster& cluster, std::string content, const Result<kube::ObjectPtr>& how) {
    if (!how.ok()) {
      round_.failed(fmt::format("failed to apply ConfigMap for cluster \"{}\": {}", cluster.id,
                                how.error().message));
      return;
    }
    cluster.content = std::move(content);
    LOG_DEBUG(log_, "Bundle published to Kubernetes ConfigMap", {"cluster_id", cluster.id},
              {"namespace", cluster.settings.name_space},
              {"configmap", cluster.settings.configmap_name},
              {"key", cluster.settings.configmap_key});
    round_.ended();
  }

  Logger log_;
  std::vector<std::unique_ptr<Cluster>> clusters_;
  ClusterRound round_{"", "\n"};
};

}  // namespace

Result<BundleFormat> parse_bundle_format(const std::string& text) {
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  if (lower == "spiffe") {
    return BundleFormat::kSpiffe;
  }
  if (lower == "jwks") {
    return BundleFormat::kJwks;
  }
  if (lower == "pem") {
    return BundleFormat::kPem;
  }
  return invalid_argument(fmt::format("unknown bundle format: \"{}\"", text));
}

Result<std::string> format_bundle(const jose::Bundle& bundle, BundleFormat format) {
  if (format == BundleFormat::kPem) {
    std::string out;
    for (const jose::X509Authority& authority : bundle.x509_authorities) {
      out += x509::certificate_to_pem(authority.der);
    }
    return out;
  }
  return jose::encode_bundle_document(
      bundle, {.style = jose::JsonStyle::kCompact, .plain_jwks = format == BundleFormat::kJwks});
}

Result<ConfigMapClusters> k8s_configmap_clusters(const hcl::Value& data, const Logger& log) {
  PublisherConfig config =
      TRY(decode_settings(schema(), data, log, "unable to decode configuration"));
  if (config.clusters.empty()) {
    LOG_WARN(log, "No clusters configured, bundle will not be published");
  }
  ConfigMapClusters out;
  for (const auto& [id, cluster] : config.clusters) {
    out[id] = TRY(checked(id, cluster));
  }
  return out;
}

std::unique_ptr<BundleTarget> k8s_configmap_publisher(const ConfigMapClusters& clusters,
                                                      const kube::LazyClientDeps& kube,
                                                      Logger log) {
  return std::make_unique<ConfigMapPublisher>(clusters, kube, std::move(log));
}

}  // namespace steeple::server
