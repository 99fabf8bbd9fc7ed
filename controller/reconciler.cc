// SPDX-License-Identifier: Apache-2.0

#include "controller/reconciler.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/kube/json.h"

namespace steeple::controller {

using nlohmann::json;

Result<IgnoredNamespaces> IgnoredNamespaces::compile(const std::vector<std::string>& expressions) {
  IgnoredNamespaces out;
  for (const std::string& text : expressions) {
    try {
      out.expressions_.emplace_back(text, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      return invalid_argument(
          fmt::format("unable to compile ignore namespaces regex \"{}\": {}", text, error.what()));
    }
  }
  return out;
}

bool IgnoredNamespaces::contains(const std::string& name) const {
  return std::ranges::any_of(expressions_, [&](const std::regex& expression) {
    return std::regex_search(name, expression);
  });
}

Result<std::unique_ptr<Reconciler>> Reconciler::create(const ControllerConfig& config, Deps deps,
                                                       Options options, Hooks hooks) {
  IgnoredNamespaces ignored = TRY(IgnoredNamespaces::compile(config.ignore_namespaces));
  spiffe::TrustDomain domain = TRY(spiffe::TrustDomain::parse(config.trust_domain));
  Renderer renderer = TRY(Renderer::make({.trust_domain = std::move(domain),
                                          .cluster_name = config.cluster_name,
                                          .cluster_domain = config.cluster_domain,
                                          .parent_id_template = config.parent_id_template}));
  Projection needs = renderer.needs();
  auto out = std::make_unique<Reconciler>(Private(), config, std::move(deps), std::move(options),
                                          std::move(hooks));
  out->make_engine(std::move(renderer), std::move(ignored));
  if (config.reconcile.federated_trust_domains) {
    out->make_federation();
  }
  if (config.static_manifest_path) {
    out->make_manifests();
  } else {
    out->make_kube_feed(std::move(needs));
  }
  return out;
}

Reconciler::Reconciler(Private /*made by create*/, ControllerConfig config, Deps deps,
                       Options options, Hooks hooks)
    : config_(std::move(config)),
      deps_(std::move(deps)),
      options_(std::move(options)),
      hooks_(std::move(hooks)) {
  if (deps_.client != nullptr && !options_.dry_run) {
    status_ = std::make_unique<StatusWriter>(StatusWriter::Deps{
        *deps_.client, deps_.random, deps_.events, deps_.log.subsystem("status"), deps_.counters});
  }
}

Reconciler::~Reconciler() = default;

void Reconciler::make_engine(Renderer renderer, IgnoredNamespaces ignored) {
  ClassRule rule{config_.class_name, config_.watch_classless};
  auto desired = std::make_unique<DesiredState>(
      std::move(renderer),
      DesiredState::Options{.class_rule = rule,
                            .ignored = [ignored = std::move(ignored)](const std::string& name) {
                              return ignored.contains(name);
                            }});
  DesiredState& state = *desired;
  engine_ = std::make_unique<Engine>(
      EntrySync::Deps{deps_.loop, deps_.spire, state, deps_.random, deps_.log.subsystem("entries"),
                      deps_.counters},
      std::move(desired),
      EntrySync::Options{.ids = {config_.entry_id_prefix, config_.entry_id_prefix_cleanup},
                         .gc_interval = config_.gc_interval,
                         .limit = config_.max_foreign_deletions,
                         .dry_run = options_.dry_run},
      Engine::Hooks{.touched = [this](const std::set<SourceName>& names) { touched(names); },
                    .ready =
                        [this] {
                          if (hooks_.ready) {
                            hooks_.ready();
                          }
                        },
                    .refused = [this](const std::string& text) { refused(text); }});
}

void Reconciler::make_federation() {
  federation_ = std::make_unique<FederationSync>(
      FederationSync::Deps{deps_.loop, deps_.spire, deps_.random, deps_.log.subsystem("federation"),
                           deps_.counters},
      FederationSync::Options{.class_rule = {config_.class_name, config_.watch_classless},
                              .dry_run = options_.dry_run},
      [this](const ObjectMeta& meta, const ResourceStatus& status) {
        if (status_) {
          status_->set(kClusterFederatedTrustDomains, meta, status);
        }
      });
}

void Reconciler::make_kube_feed(Projection needs) {
  auto resource_of = [](const SourceName& name) {
    return name.kind == SourceKind::kSpiffeId ? kClusterSpiffeIds : kClusterStaticEntries;
  };
  feed_ = std::make_unique<KubeFeed>(
      KubeFeed::Deps{deps_.loop, *deps_.client, deps_.random, *engine_, deps_.log},
      KubeFeed::Options{.reconcile = config_.reconcile,
                        .cache_namespaces = config_.cache_namespaces,
                        .annotation = config_.spiffe_id_annotation,
                        .needs = std::move(needs),
                        .class_rule = {config_.class_name, config_.watch_classless}},
      KubeFeed::Hooks{.seen =
                          [this, resource_of](const SourceName& name, const json& status) {
                            if (status_) {
                              status_->seen(resource_of(name), name.name, status);
                            }
                          },
                      .gone =
                          [this, resource_of](const SourceName& name) {
                            if (status_) {
                              status_->forget(resource_of(name), name.name);
                            }
                          }});
}

// ClusterFederatedTrustDomains from the API server.
void Reconciler::follow_domains() {
  kube::InformerHandlers<FederatedPtr> on;
  on.added = [this](const std::string&, const FederatedPtr& now) { federation_->put(now); };
  on.changed = [this](const std::string&, const FederatedPtr& old, const FederatedPtr& now) {
    if (old->meta.uid != now->meta.uid || old->meta.generation != now->meta.generation) {
      federation_->put(now);
    }
  };
  on.deleted = [this](const std::string& name, const FederatedPtr&) {
    federation_->remove(name);
    if (status_) {
      status_->forget(kClusterFederatedTrustDomains, name);
    }
  };
  on.synced = [this] { federation_->complete(); };
  on.troubled = [this](const Error& error, Duration wait) {
    LOG_WARN(deps_.log, "Watching the API server failed",
             {"resource", "clusterfederatedtrustdomains"}, {"error", error},
             {"retry_in", format_go_duration(wait)});
  };
  domains_ = std::make_unique<kube::Informer<FederatedPtr>>(
      kube::Reflector::Deps{*deps_.client, deps_.random},
      kube::Target{.resource = kClusterFederatedTrustDomains}, kube::InformerOptions{},
      [this](const json& object) -> std::optional<FederatedPtr> {
        if (status_) {
          const json* status = kube::find(object, {"status"});
          status_->seen(kClusterFederatedTrustDomains,
                        kube::string_at(object, {"metadata", "name"}),
                        status == nullptr ? json() : *status);
        }
        return std::make_shared<const ClusterFederatedTrustDomain>(
            parse_cluster_federated_trust_domain(object));
      },
      std::move(on));
  domains_->start();
}

void Reconciler::make_manifests() {
  auto put_entry = [this](ClusterStaticEntry entry) {
    if (!entry.spec.ok()) {
      ++deps_.counters.static_render_failures;
      LOG_ERROR(deps_.log, "Failed to render ClusterStaticEntry", {"name", entry.meta.name},
                {"error", entry.spec.error()});
    }
    if (config_.reconcile.static_entries) {
      engine_->desired().put_static_entry(std::move(entry));
      engine_->changed();
    }
  };
  auto put_domain = [this](ClusterFederatedTrustDomain domain) {
    if (!domain.spec.ok()) {
      LOG_ERROR(deps_.log, "Failed to parse ClusterFederatedTrustDomain",
                {"name", domain.meta.name}, {"error", domain.spec.error()});
    }
    if (federation_) {
      federation_->put(std::make_shared<const ClusterFederatedTrustDomain>(std::move(domain)));
    }
  };
  manifests_ = std::make_unique<StaticManifests>(
      StaticManifests::Deps{deps_.loop, deps_.workers, deps_.log.subsystem("manifests")},
      StaticManifests::Options{.folder = *config_.static_manifest_path,
                               .expand_env = config_.expand_env_static_manifests,
                               .environment = deps_.environment,
                               .interval = config_.gc_interval},
      StaticManifests::Hooks{.put_entry = put_entry,
                             .remove_entry =
                                 [this](const std::string& name) {
                                   engine_->desired().remove_static_entry(name);
                                   engine_->changed();
                                 },
                             .put_domain = put_domain,
                             .remove_domain =
                                 [this](const std::string& name) {
                                   if (federation_) {
                                     federation_->remove(name);
                                   }
                                 },
                             .complete =
                                 [this] {
                                   engine_->complete();
                                   if (federation_) {
                                     federation_->complete();
                                   }
                                 }});
}

void Reconciler::start() {
  // Who reconciles no entries must not take those that stand for undeclared ones.
  if (entries_wanted()) {
    engine_->start();
    if (feed_) {
      feed_->start();
    }
  }
  if (feed_ && federation_) {
    follow_domains();
  }
  if (manifests_) {
    manifests_->start();
  }
}

bool Reconciler::entries_wanted() const {
  return config_.reconcile.spiffe_ids || config_.reconcile.static_entries;
}

bool Reconciler::ready() const { return !entries_wanted() || engine_->ready(); }

bool Reconciler::idle() const { return engine_->idle() && (!status_ || status_->idle()); }

std::optional<std::vector<std::string>> Reconciler::plan() const {
  if ((entries_wanted() && !engine_->ready()) || (federation_ && !federation_->compared())) {
    return {};
  }
  std::vector<std::string> out = engine_->sync().plan();
  if (federation_) {
    std::ranges::copy(federation_->plan(), std::back_inserter(out));
  }
  return out;
}

void Reconciler::touched(const std::set<SourceName>& names) {
  const DesiredState& desired = engine_->desired();
  for (const SourceName& name : names) {
    if (name.kind == SourceKind::kAnnotation) {
      for (const auto& [pod, failure] : desired.failures(name, 100)) {
        if (failure.kind == FailureKind::kRender) {
          LOG_WARN(deps_.log, "The annotation of a pod gives it no entry", {"pod", pod},
                   {"error", failure.message});
        }
      }
    } else if (!status_ || !engine_->ready()) {
      continue;
    } else if (const ClusterSpiffeId* resource = desired.spiffe_id(name.name);
               name.kind == SourceKind::kSpiffeId && resource != nullptr) {
      status_->set(kClusterSpiffeIds, resource->meta,
                   spiffe_id_status(*resource, desired, engine_->sync()));
    } else if (const ClusterStaticEntry* entry = desired.static_entry(name.name);
               name.kind == SourceKind::kStaticEntry && entry != nullptr) {
      if (!entry->spec.ok()) {
        ++deps_.counters.static_render_failures;
        LOG_ERROR(deps_.log, "Failed to render ClusterStaticEntry", {"name", name.name},
                  {"error", entry->spec.error()});
      }
      status_->set(kClusterStaticEntries, entry->meta,
                   static_entry_status(*entry, desired, engine_->sync()));
    }
  }
}

void Reconciler::refused(const std::string& text) {
  if (deps_.events != nullptr && !options_.self.name.empty()) {
    deps_.events->record({.about = options_.self,
                          .type = kube::EventType::kWarning,
                          .reason = "DeletionRefused",
                          .message = text});
  }
}

}  // namespace steeple::controller
