// SPDX-License-Identifier: Apache-2.0

// Which container, and which pod, a process belongs to: from /proc/<pid>/cgroup, whose content is
// the kernel's, and only if that says nothing from /proc/<pid>/mountinfo, which the process can
// shape with mounts of its own and which therefore never overrules the former. Pure functions.
//
// A container ID is 64 hexadecimal digits that stand alone ("cri-containerd-<id>.scope"); a pod UID
// follows "pod" in one of the segments before it, with dashes or, by the systemd driver,
// underscores ("kubepods-besteffort-pod<uid>.slice").

#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/base/result.h"

namespace steeple::agent {

struct ContainerRef {
  std::string pod_uid;       // with dashes; empty: not in the path
  std::string container_id;  // empty: not in a container

  friend bool operator==(const ContainerRef&, const ContainerRef&) = default;
};

// Of one cgroup path or mount root.
ContainerRef container_in_path(std::string_view path);

// Of all lines of a cgroup file (cgroups(7), "hierarchy:controllers:path"). A line with a pod wins
// over lines without; kFailedPrecondition when lines contradict each other.
Result<ContainerRef> container_in_cgroups(ByteView cgroup);
// Of the roots of all cgroup mounts (proc(5), mountinfo).
Result<ContainerRef> container_in_mounts(ByteView mountinfo);

// `mountinfo` is asked for only when the cgroups say nothing.
Result<ContainerRef> find_container(ByteView cgroup,
                                    const std::function<Result<Bytes>()>& mountinfo);

}  // namespace steeple::agent
