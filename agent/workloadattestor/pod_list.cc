// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/pod_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/kube/json.h"

namespace steeple::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kPodBytesMax = std::size_t{8} << 20;

// The host of a URL such as "containerd://<id>".
std::string id_of(const json& status) {
  std::string_view text = kube::view_at(status, {"containerID"});
  std::size_t scheme = text.find("://");
  if (scheme == std::string_view::npos) {
    return {};
  }
  text.remove_prefix(scheme + 3);
  return std::string(text.substr(0, text.find('/')));
}

std::vector<PodContainer> containers_of(const json& pod, const char* list) {
  std::vector<PodContainer> out;
  const json* statuses = kube::find(pod, {"status", list});
  if (statuses == nullptr || !statuses->is_array()) {
    return out;
  }
  out.reserve(statuses->size());
  for (const json& status : *statuses) {
    if (status.is_object()) {
      out.push_back({.name = kube::string_at(status, {"name"}),
                     .id = id_of(status),
                     .image = kube::string_at(status, {"image"}),
                     .image_id = kube::string_at(status, {"imageID"})});
    }
  }
  return out;
}

Pod read_pod(const json& object) {
  Pod out;
  out.uid = kube::string_at(object, {"metadata", "uid"});
  out.name = kube::string_at(object, {"metadata", "name"});
  out.name_space = kube::string_at(object, {"metadata", "namespace"});
  out.service_account = kube::string_at(object, {"spec", "serviceAccountName"});
  out.node_name = kube::string_at(object, {"spec", "nodeName"});
  for (auto& [key, value] : kube::string_map_at(object, {"metadata", "labels"})) {
    out.labels.emplace_back(key, value);
  }
  if (const json* owners = kube::find(object, {"metadata", "ownerReferences"});
      owners != nullptr && owners->is_array()) {
    for (const json& owner : *owners) {
      if (owner.is_object()) {
        out.owners.push_back({kube::string_at(owner, {"kind"}), kube::string_at(owner, {"name"}),
                              kube::string_at(owner, {"uid"})});
      }
    }
  }
  out.containers = containers_of(object, "containerStatuses");
  out.init_containers = containers_of(object, "initContainerStatuses");
  return out;
}

// By ImageID and by name, each once.
void add_images(std::vector<std::string>& to, std::string_view key,
                const std::vector<PodContainer>& containers) {
  std::vector<std::string_view> seen;
  for (const PodContainer& container : containers) {
    for (std::string_view image :
         {std::string_view(container.image_id), std::string_view(container.image)}) {
      if (std::ranges::find(seen, image) == seen.end()) {
        seen.push_back(image);
        to.push_back(fmt::format("{}:{}", key, image));
      }
    }
  }
}

}  // namespace

const PodContainer* Pod::find(std::string_view container_id) const {
  for (const auto* list : {&containers, &init_containers}) {
    for (const PodContainer& container : *list) {
      if (!container.id.empty() && container.id == container_id) {
        return &container;
      }
    }
  }
  return nullptr;
}

std::vector<std::string> pod_selectors(const Pod& pod, bool with_images) {
  std::vector<std::string> out = {
      fmt::format("sa:{}", pod.service_account),  fmt::format("ns:{}", pod.name_space),
      fmt::format("node-name:{}", pod.node_name), fmt::format("pod-uid:{}", pod.uid),
      fmt::format("pod-name:{}", pod.name),
  };
  if (with_images) {
    out.push_back(fmt::format("pod-image-count:{}", pod.containers.size()));
    out.push_back(fmt::format("pod-init-image-count:{}", pod.init_containers.size()));
    add_images(out, "pod-image", pod.containers);
    add_images(out, "pod-init-image", pod.init_containers);
  }
  for (const auto& [key, value] : pod.labels) {
    out.push_back(fmt::format("pod-label:{}:{}", key, value));
  }
  for (const Pod::Owner& owner : pod.owners) {
    out.push_back(fmt::format("pod-owner:{}:{}", owner.kind, owner.name));
    out.push_back(fmt::format("pod-owner-uid:{}:{}", owner.kind, owner.uid));
  }
  return out;
}

std::vector<std::string> container_selectors(const PodContainer& container) {
  std::vector<std::string> out = {fmt::format("container-name:{}", container.name)};
  add_images(out, "container-image", {container});
  return out;
}

void PodList::add(Pod pod) {
  std::string uid = pod.uid;
  pods_.insert_or_assign(std::move(uid), std::move(pod));
}

const Pod* PodList::find_pod(std::string_view uid) const {
  auto at = pods_.find(uid);
  return at == pods_.end() ? nullptr : &at->second;
}

Result<const Pod*> PodList::find_pod_of(std::string_view container_id) const {
  const Pod* found = nullptr;
  for (const auto& [uid, pod] : pods_) {
    if (pod.find(container_id) == nullptr) {
      continue;
    }
    if (found != nullptr) {
      return internal("two pods found with same container Id");
    }
    found = &pod;
  }
  return found;
}

PodListReader::PodListReader()
    : list_(std::make_shared<PodList>()),
      reader_("items",
              [list = list_](const json& object) -> Result<void> {
                Pod pod = read_pod(object);
                if (!pod.uid.empty()) {
                  list->add(std::move(pod));
                }
                return {};
              },
              {.element_bytes_max = kPodBytesMax, .elements_max = kPodsMax}) {}

Result<void> PodListReader::feed(ByteView bytes) {
  bytes_ += bytes.size();
  if (bytes_ > kPodListBytesMax) {
    return resource_exhausted("the kubelet's pod list is too long");
  }
  return reader_.feed(bytes).during("unable to parse kubelet response");
}

Result<PodList> PodListReader::finish() {
  json rest = TRY(reader_.finish().during("unable to parse kubelet response"));
  // Go writes a nil slice as null.
  const json* items = kube::find(rest, {"items"});
  if (items == nullptr || !(items->is_array() || items->is_null())) {
    return internal("invalid kubelet response: expected an items array");
  }
  return std::move(*list_);
}

}  // namespace steeple::agent
