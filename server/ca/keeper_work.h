// SPDX-License-Identifier: Apache-2.0

// The inside of AuthorityKeeper: what its operations, one at a time, work on. Only its own .cc
// files include this.

#pragma once

#include <optional>

#include "server/ca/authority_keeper.h"
#include "server/ca/jwt_kind.h"
#include "server/ca/rotation.h"
#include "server/ca/upstream_roots.h"
#include "server/ca/x509_kind.h"

namespace steeple::server {

struct AuthorityKeeper::Work {
  Work(AuthorityKeeper& keeper, Journal loaded);

  Journal journal;
  UpstreamRoots roots;
  X509Kind x509_kind;
  JwtKind jwt_kind;
  Rotation x509;
  Rotation jwt;
  std::uint64_t upstream_seen = 0;  // version of the upstream's updates
  bool warned_no_upstream_jwt = false;
  SteadyTime prune_bundle_at;
  SteadyTime prune_journals_at;
};

}  // namespace steeple::server
