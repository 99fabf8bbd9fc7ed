// SPDX-License-Identifier: Apache-2.0

#include "server/notifier/labelled_objects.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "server/bundlepublisher/k8s_configmap.h"

namespace steeple::server {

using nlohmann::json;

// Strategic merge: webhooks are found by their names; members that the API demands of a webhook or
// of an APIService are repeated as they are.
json ca_bundle_patch(const kube::Resource& resource, const json& object, const std::string& pem) {
  const std::string encoded = base64_encode(pem);
  json patch = {{"metadata",
                 {{"resourceVersion", kube::string_at(object, {"metadata", "resourceVersion"})}}}};
  if (resource.plural == kube::kApiServices.plural) {
    if (kube::view_at(object, {"spec", "caBundle"}) == encoded) {
      return nullptr;
    }
    patch["spec"]["caBundle"] = encoded;
    for (const char* key : {"groupPriorityMinimum", "versionPriority"}) {
      if (const json* value = kube::find(object, {"spec", key}); value != nullptr) {
        patch["spec"][key] = *value;
      }
    }
    return patch;
  }
  const json* webhooks = kube::find(object, {"webhooks"});
  bool differs = false;
  json& changed = patch["webhooks"] = json::array();
  for (const json& webhook :
       webhooks != nullptr && webhooks->is_array() ? *webhooks : json::array()) {
    differs = differs || kube::view_at(webhook, {"clientConfig", "caBundle"}) != encoded;
    json& one = changed.emplace_back(json{{"clientConfig", {{"caBundle", encoded}}}});
    for (const char* key : {"name", "sideEffects", "admissionReviewVersions"}) {
      if (const json* value = kube::find(webhook, {key}); value != nullptr) {
        one[key] = *value;
      }
    }
  }
  return differs ? patch : json();
}

LabelledObjects::LabelledObjects(std::shared_ptr<kube::Client> client,
                                 const kube::Resource& resource, const std::string& label,
                                 const BundleTargetDeps& deps)
    : client_(std::move(client)),
      resource_(resource),
      deps_(deps),
      backoff_(deps_.random, {.first = std::chrono::seconds(1)}),
      retry_(client_->loop()),
      reflector_({*client_, deps_.random}, {resource_}, {.label_selector = label + "=true"},
                 *this) {
  reflector_.start();
}

LabelledObjects::~LabelledObjects() = default;

void LabelledObjects::check_all() {
  for (auto& [name, object] : objects_) {
    check(name, object);
  }
}

void LabelledObjects::list_began() { objects_.clear(); }

void LabelledObjects::listed(const json& object) {
  const std::string name = kube::string_at(object, {"metadata", "name"});
  if (!objects_.contains(name) && objects_.size() >= kLabelledObjectsMax) {
    LOG_ERROR(deps_.log, "Too many labelled objects; leaving one out", {"name", name});
    return;
  }
  Object& slot = objects_[name];
  slot.seen = std::make_shared<const json>(object);
  check(name, slot);
}

void LabelledObjects::removed(const json& object) {
  objects_.erase(kube::string_at(object, {"metadata", "name"}));
}

void LabelledObjects::troubled(const Error& error, Duration wait) {
  LOG_WARN(deps_.log, "Unable to follow labelled objects", {"resource", resource_.plural},
           {"error", error}, {"retry_interval", format_go_duration(wait)});
}

void LabelledObjects::check(const std::string& name, Object& object) {
  BundlePtr bundle = deps_.bundle();
  if (!bundle || object.call || !object.seen) {
    return;  // its event comes, or the bundle
  }
  auto pem = format_bundle(*bundle, BundleFormat::kPem);
  json patch = pem.ok() ? ca_bundle_patch(resource_, *object.seen, *pem) : json();
  if (patch.is_null()) {
    return;
  }
  object.call =
      client_->patch({resource_, "", name}, patch, {.type = kube::PatchType::kStrategic},
                     [this, name](const Result<kube::ObjectPtr>& how) { patched(name, how); });
}

void LabelledObjects::patched(const std::string& name, const Result<kube::ObjectPtr>& how) {
  auto at = objects_.find(name);
  if (at == objects_.end()) {
    return;
  }
  Object& object = at->second;
  auto ended = std::move(object.call);
  if (how.ok()) {
    LOG_DEBUG(deps_.log, "Set bundle for object", {"name", name});
    object.seen = *how;
    backoff_.reset();
    check(name, object);  // the bundle may have changed meanwhile
    return;
  }
  // What changed it comes by the watch; if it came while the patch was under way, it is here.
  if (!kube::is_conflict(how.error())) {
    LOG_ERROR(deps_.log, "Unable to set bundle for object", {"name", name}, {"error", how.error()});
  }
  retry_.start(backoff_.next(), [this] { check_all(); });
}

}  // namespace steeple::server
