// SPDX-License-Identifier: Apache-2.0

#include "controller/crd/object_meta.h"

#include <nlohmann/json.hpp>

#include "lib/kube/json.h"

namespace steeple::controller {

ObjectMeta ObjectMeta::of(const nlohmann::json& object) {
  return {.name = kube::string_at(object, {"metadata", "name"}),
          .uid = kube::string_at(object, {"metadata", "uid"}),
          .generation = kube::integer_at(object, {"metadata", "generation"}),
          .created = kube::string_at(object, {"metadata", "creationTimestamp"}),
          .deleted = kube::string_at(object, {"metadata", "deletionTimestamp"})};
}

std::strong_ordering precedence(const ObjectMeta& a, const ObjectMeta& b) {
  if (auto by_age = a.created <=> b.created; by_age != 0) {
    return by_age;
  }
  if (a.deleted.empty() != b.deleted.empty()) {
    return a.deleted.empty() ? std::strong_ordering::less : std::strong_ordering::greater;
  }
  if (auto by_deletion = b.deleted <=> a.deleted; by_deletion != 0) {
    return by_deletion;
  }
  if (auto by_uid = a.uid <=> b.uid; by_uid != 0) {
    return by_uid;
  }
  return a.name <=> b.name;
}

}  // namespace steeple::controller
