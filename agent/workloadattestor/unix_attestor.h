// SPDX-License-Identifier: Apache-2.0

// The `unix` workload attestor: selectors from the kernel's account of the process, in the
// reference's order: uid, user, gid, group, then per supplementary group supplementary_gid and
// supplementary_group; with discover_workload_path also path and sha256. Ids are the effective
// ones; a name that is not known is left out.
//
// The hash is computed anew each time. A cache would have to know that a file has not changed, and
// nothing tells that for sure: a page dirtied through an old shared mapping changes the content
// without touching size, mtime or ctime.

#pragma once

#include <cstdint>
#include <memory>

#include "agent/workloadattestor/account_names.h"
#include "agent/workloadattestor/workload_attestor.h"

namespace steeple::agent {

struct UnixAttestorOptions {
  bool discover_workload_path = false;
  // Bytes of the executable above which attestation fails; 0 = no limit, negative = no hash.
  std::int64_t workload_size_limit = 0;
};

// `names` must outlive the attestor.
std::unique_ptr<BlockingAttestor> unix_attestor(UnixAttestorOptions options, AccountNames& names);

}  // namespace steeple::agent
