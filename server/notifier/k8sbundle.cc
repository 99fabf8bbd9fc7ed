// SPDX-License-Identifier: Apache-2.0

#include "server/notifier/k8sbundle.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "lib/hcl/schema.h"
#include "server/bundlepublisher/cluster_round.h"
#include "server/bundlepublisher/k8s_configmap.h"
#include "server/notifier/labelled_objects.h"
#include "server/upstreamauthority/plugin_settings.h"

namespace steeple::server {
namespace {

struct ClusterConfig {
  std::string name_space;
  std::string config_map;
  std::string config_map_key;
  std::string webhook_label;
  std::string api_service_label;
  std::string kube_config_file_path;

  friend bool operator==(const ClusterConfig&, const ClusterConfig&) = default;
};
struct NotifierConfig {
  ClusterConfig root;
  std::vector<ClusterConfig> clusters;
};

const hcl::Schema<ClusterConfig>& cluster_schema() {
  using C = ClusterConfig;
  static const auto schema =
      hcl::Schema<C>("k8sbundle cluster", "One cluster that gets the bundle.")
          .key("namespace", &C::name_space, "namespace of the ConfigMap", {.default_text = "spire"})
          .key("config_map", &C::config_map, "its name", {.default_text = "spire-bundle"})
          .key("config_map_key", &C::config_map_key, "key in it", {.default_text = "bundle.crt"})
          .key("webhook_label", &C::webhook_label,
               "webhook configurations with this label \"true\" get the bundle as caBundle")
          .key("api_service_label", &C::api_service_label, "the same for APIServices")
          .key("kube_config_file_path", &C::kube_config_file_path,
               "kubeconfig of the cluster; empty: the one that the server runs in");
  return schema;
}

const hcl::Schema<NotifierConfig>& schema() {
  static const auto schema =
      hcl::Schema<NotifierConfig>("Notifier \"k8sbundle\"", "The bundle in Kubernetes objects.")
          .include(&NotifierConfig::root, cluster_schema())
          .blocks("clusters", &NotifierConfig::clusters, cluster_schema());
  return schema;
}

K8sBundleCluster with_defaults(const ClusterConfig& config) {
  K8sBundleCluster out;
  auto take = [](std::string& to, const std::string& given) {
    if (!given.empty()) {
      to = given;
    }
  };
  take(out.name_space, config.name_space);
  take(out.config_map, config.config_map);
  take(out.config_map_key, config.config_map_key);
  out.webhook_label = config.webhook_label;
  out.api_service_label = config.api_service_label;
  out.kubeconfig = config.kube_config_file_path;
  return out;
}

using Done = ClusterRound::Done;

// One cluster: the ConfigMap is written with each bundle, the labelled objects follow by
// themselves.
class Cluster {
 public:
  Cluster(K8sBundleCluster settings, const BundleTargetDeps& deps)
      : settings_(std::move(settings)), deps_(deps), lazy_(settings_.kubeconfig, *deps.kube) {}

  void put(Done done) {
    auto client = lazy_.get();
    if (!client.ok()) {
      done(std::move(client).error().during("unable to create new kubeClients"));
      return;
    }
    if (client_ != *client) {
      labelled_.clear();
      call_.reset();
      client_ = std::move(*client);
      follow();
    } else {
      for (const auto& objects : labelled_) {
        objects->check_all();
      }
    }
    done_ = std::move(done);
    tries_ = 0;
    read();
  }

 private:
  void follow() {
    auto add = [this](const kube::Resource& resource, const std::string& label) {
      if (!label.empty()) {
        labelled_.push_back(std::make_unique<LabelledObjects>(client_, resource, label, deps_));
      }
    };
    add(kube::kMutatingWebhooks, settings_.webhook_label);
    add(kube::kValidatingWebhooks, settings_.webhook_label);
    add(kube::kApiServices, settings_.api_service_label);
  }

  kube::Target target() const {
    return {kube::kConfigMaps, settings_.name_space, settings_.config_map};
  }

  void read() {
    call_ = client_->get(target(), [this](Result<kube::ObjectPtr> object) {
      if (object.ok()) {
        write(**object);
      } else {
        end(std::move(object).error().during("unable to get list"));
      }
    });
  }

  // The bundle of now, not of when we began: another server may have written a newer one.
  void write(const nlohmann::json& object) {
    BundlePtr bundle = deps_.bundle();
    auto pem = bundle ? format_bundle(*bundle, BundleFormat::kPem) : unavailable("no bundle");
    if (!pem.ok()) {
      end(std::move(pem).error());
      return;
    }
    const nlohmann::json* data = kube::find(object, {"data"});
    if (data != nullptr && kube::string_at(*data, {settings_.config_map_key.c_str()}) == *pem) {
      end({});
      return;
    }
    nlohmann::json patch = {
        {"metadata",
         {{"resourceVersion", kube::string_at(object, {"metadata", "resourceVersion"})}}},
        {"data", {{settings_.config_map_key, *pem}}}};
    call_ = client_->patch(target(), patch, {.type = kube::PatchType::kStrategic},
                           [this](const Result<kube::ObjectPtr>& how) { written(how); });
  }

  void written(const Result<kube::ObjectPtr>& how) {
    if (how.ok()) {
      end({});
    } else if (kube::is_conflict(how.error()) && ++tries_ < kConflictTries) {
      read();
    } else {
      end(kube::without_status(how.error())
              .during(fmt::format("{}/{}", settings_.name_space, settings_.config_map)));
    }
  }

  void end(Result<void> how) {
    auto done = std::move(done_);
    done(std::move(how));
  }

  const K8sBundleCluster settings_;
  const BundleTargetDeps deps_;
  kube::LazyClient lazy_;
  std::shared_ptr<kube::Client> client_;
  std::vector<std::unique_ptr<LabelledObjects>> labelled_;
  kube::CallPtr call_;
  Done done_;
  int tries_ = 0;
};

class K8sBundleNotifier final : public BundleTarget {
 public:
  K8sBundleNotifier(const std::vector<K8sBundleCluster>& clusters, const BundleTargetDeps& deps) {
    for (const K8sBundleCluster& cluster : clusters) {
      clusters_.push_back(std::make_unique<Cluster>(cluster, deps));
    }
  }

  std::string_view type() const override { return "Notifier"; }
  std::string_view name() const override { return "k8sbundle"; }

  void put(const BundlePtr&, Done done) override {
    round_.begin(clusters_.size(), std::move(done));
    for (const auto& cluster : clusters_) {
      cluster->put([this](const Result<void>& how) {
        if (how.ok()) {
          round_.ended();
        } else {
          round_.failed(how.error().message);
        }
      });
    }
    round_.ended();
  }

 private:
  std::vector<std::unique_ptr<Cluster>> clusters_;
  ClusterRound round_{"unable to update: ", ", "};
};

}  // namespace

Result<std::vector<K8sBundleCluster>> k8sbundle_clusters(const hcl::Value& data,
                                                         const Logger& log) {
  NotifierConfig config =
      TRY(decode_settings(schema(), data, log, "plugin configuration is malformed"));
  std::vector<K8sBundleCluster> out;
  if (config.root != ClusterConfig() || config.clusters.empty()) {
    out.push_back(with_defaults(config.root));
  }
  for (const ClusterConfig& cluster : config.clusters) {
    if (cluster.kube_config_file_path.empty()) {
      return invalid_argument("cluster configuration is missing kube_config_file_path");
    }
    out.push_back(with_defaults(cluster));
  }
  return out;
}

std::unique_ptr<BundleTarget> k8sbundle_notifier(const std::vector<K8sBundleCluster>& clusters,
                                                 const BundleTargetDeps& deps) {
  return std::make_unique<K8sBundleNotifier>(clusters, deps);
}

}  // namespace steeple::server
