// SPDX-License-Identifier: Apache-2.0

// What the kubelet says of the pods of this node, as far as selectors need it. The list is read
// piece by piece as it arrives, so that its memory is that of one pod and of what is kept. Values;
// any thread.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/kube/array_reader.h"

namespace steeple::agent {

inline constexpr std::size_t kPodListBytesMax = std::size_t{256} << 20;
inline constexpr std::size_t kPodsMax = 10'000;

struct PodContainer {
  std::string name;
  std::string id;  // 64 hex digits, without the runtime's "containerd://"; empty: not started
  std::string image;
  std::string image_id;
};

struct Pod {
  std::string uid;
  std::string name;
  std::string name_space;
  std::string service_account;
  std::string node_name;
  std::vector<std::pair<std::string, std::string>> labels = {};
  struct Owner {
    std::string kind, name, uid;
  };
  std::vector<Owner> owners = {};
  std::vector<PodContainer> containers = {};
  std::vector<PodContainer> init_containers = {};

  // Null when the pod has no container of that id.
  const PodContainer* find(std::string_view container_id) const;
};

// Values of selectors ("ns:default"), in the reference's order; each image once. Images and their
// counts come from the statuses of containers, which may not be there yet.
std::vector<std::string> pod_selectors(const Pod& pod, bool with_images = true);
std::vector<std::string> container_selectors(const PodContainer& container);

class PodList {
 public:
  void add(Pod pod);
  std::size_t size() const { return pods_.size(); }

  const Pod* find_pod(std::string_view uid) const;
  // For processes whose cgroup names a container but no pod. kInternal when two pods claim it.
  Result<const Pod*> find_pod_of(std::string_view container_id) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  std::unordered_map<std::string, Pod, Hash, std::equal_to<>> pods_;
};

// Reads {"kind":"PodList","items":[...]} as it comes.
class PodListReader {
 public:
  PodListReader();
  Result<void> feed(ByteView bytes);
  Result<PodList> finish();

 private:
  std::shared_ptr<PodList> list_;
  kube::ArrayReader reader_;
  std::size_t bytes_ = 0;
};

}  // namespace steeple::agent
