// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/selector.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace steeple::agent {

bool is_late(const Selector& selector) {
  // From the statuses of containers; the counts of images, too.
  constexpr std::array kFromStatuses = {
      std::string_view("container-name:"), std::string_view("container-image:"),
      std::string_view("pod-image"), std::string_view("pod-init-image")};
  return selector.type == "k8s" && std::ranges::any_of(kFromStatuses, [&](std::string_view start) {
           return selector.value.starts_with(start);
         });
}

}  // namespace steeple::agent
