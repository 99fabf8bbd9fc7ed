// SPDX-License-Identifier: Apache-2.0

// What a daemon of ours may still ask of the kernel: the few capabilities that it needs, and all
// system calls but those that no daemon of this kind ever makes. Both are inherited by children and
// cannot be taken back. Part of harden_process (daemon.h); call before threads start.

#pragma once

#include <span>

#include "lib/base/result.h"

namespace steeple::cli {

// Drops every capability but `keep` (CAP_*) from the effective, permitted and bounding sets, and
// all inheritable and ambient ones. What the process has not got already it does not gain.
Result<void> keep_capabilities(std::span<const int> keep);

// The calls of privileges.cc answer EPERM from now on, those of a foreign instruction set too, and
// clone3 ENOSYS (its flags cannot be looked at, and the C library then uses clone). Needs
// no-new-privs.
Result<void> forbid_system_calls();

}  // namespace steeple::cli
