// SPDX-License-Identifier: Apache-2.0

#include "controller/template/projection.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/gotemplate/kubernetes.h"

namespace steeple::controller {

using nlohmann::json;

namespace {

bool includes(const std::set<std::string, std::less<>>& all,
              const std::set<std::string, std::less<>>& some) {
  return std::ranges::includes(all, some);
}

// `path` from the ObjectMeta or Spec downwards: Go's names.
void add_path(MemberSet& to, const gotemplate::Type& type, const gotemplate::FieldPath& path) {
  if (path.size() < 2) {
    to.everything = true;
    return;
  }
  std::size_t index = 0;
  const gotemplate::Type::Field* field = type.field(path[1], &index);
  if (field == nullptr || field->json.empty()) {
    to.everything = true;  // a method, or something we cannot tell
  } else if (field->json == "labels" && path.size() > 2) {
    to.label_keys.insert(path[2]);
  } else if (field->json == "annotations" && path.size() > 2) {
    to.annotation_keys.insert(path[2]);
  } else {
    to.members.insert(field->json);
  }
}

void project_keys(const json& object, const char* member,
                  const std::set<std::string, std::less<>>& keys, json& out) {
  if (keys.empty() || out.contains(member)) {
    return;
  }
  auto map = object.find(member);
  if (map == object.end() || !map->is_object()) {
    return;
  }
  json chosen = json::object();
  for (const std::string& key : keys) {
    if (auto value = map->find(key); value != map->end()) {
      chosen[key] = *value;
    }
  }
  out[member] = std::move(chosen);
}

}  // namespace

bool MemberSet::covers(const MemberSet& other) const {
  if (everything) {
    return true;
  }
  return !other.everything && includes(members, other.members) &&
         (members.contains("labels") || includes(label_keys, other.label_keys)) &&
         (members.contains("annotations") || includes(annotation_keys, other.annotation_keys));
}

void MemberSet::add(const MemberSet& other) {
  everything = everything || other.everything;
  members.insert(other.members.begin(), other.members.end());
  label_keys.insert(other.label_keys.begin(), other.label_keys.end());
  annotation_keys.insert(other.annotation_keys.begin(), other.annotation_keys.end());
}

std::string MemberSet::project(const json* object) const {
  if (object == nullptr || !object->is_object()) {
    return "{}";
  }
  json out = json::object();
  if (everything) {
    out = *object;
    out.erase("managedFields");  // larger than all the rest; no Go template of users reads it
  } else {
    for (const std::string& name : members) {
      if (auto found = object->find(name); found != object->end()) {
        out[name] = *found;
      }
    }
    project_keys(*object, "labels", label_keys, out);
    project_keys(*object, "annotations", annotation_keys, out);
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Projection Projection::of(const gotemplate::Template& text) {
  static const gotemplate::TypeRef meta = gotemplate::kubernetes::object_meta();
  static const gotemplate::TypeRef pod_spec = gotemplate::kubernetes::pod_spec();
  static const gotemplate::TypeRef node_spec = gotemplate::kubernetes::node_spec();
  Projection out;
  for (const gotemplate::FieldPath& path : text.references()) {
    std::string_view first = path.empty() ? std::string_view() : std::string_view(path.front());
    if (first.empty() || first == "PodMeta") {
      add_path(out.pod_meta, *meta, path);
    }
    if (first.empty() || first == "PodSpec") {
      add_path(out.pod_spec, *pod_spec, path);
    }
    if (first.empty() || first == "NodeMeta") {
      add_path(out.node_meta, *meta, path);
    }
    if (first.empty() || first == "NodeSpec") {
      add_path(out.node_spec, *node_spec, path);
    }
  }
  return out;
}

void Projection::add(const Projection& other) {
  pod_meta.add(other.pod_meta);
  pod_spec.add(other.pod_spec);
  node_meta.add(other.node_meta);
  node_spec.add(other.node_spec);
}

bool Projection::covers(const Projection& other) const {
  return pod_meta.covers(other.pod_meta) && pod_spec.covers(other.pod_spec) &&
         node_meta.covers(other.node_meta) && node_spec.covers(other.node_spec);
}

}  // namespace steeple::controller
