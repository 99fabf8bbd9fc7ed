// SPDX-License-Identifier: Apache-2.0

// A workload shapes its mountinfo, and in part its cgroup path: neither must lead the agent astray.

#include <cstddef>
#include <cstdint>

#include "agent/workloadattestor/container.h"
#include "lib/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  steeple::ByteView text(reinterpret_cast<const char*>(data), size);
  for (const auto& found :
       {steeple::agent::container_in_cgroups(text), steeple::agent::container_in_mounts(text)}) {
    if (found.ok()) {
      CHECK(found->container_id.empty() || found->container_id.size() == 64);
      CHECK(found->pod_uid.empty() || found->pod_uid.size() == 36);
      CHECK(found->pod_uid.empty() || !found->container_id.empty());
    }
  }
  return 0;
}
