// SPDX-License-Identifier: Apache-2.0

// Who is calling, as authorization found out: made once per call, owned by the call, used by the
// one thread that serves it. Carries the log with the caller's fields and the audit trail.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/io/connection.h"
#include "lib/telemetry/log.h"
#include "server/authz/audit.h"
#include "server/authz/policy.h"
#include "server/datastore/types.h"
#include "spiffe/spiffe_id.h"

namespace steeple::server {

class Caller {
 public:
  // `base` outlives it. `method` without its service.
  Caller(std::shared_ptr<const io::Peer> peer, const Logger& base, std::string_view method,
         Random& random, bool audit_enabled)
      : peer_(std::move(peer)),
        base_(base),
        method_(method),
        random_(random),
        audit(audit_enabled) {}
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  const io::Peer& peer() const { return *peer_; }
  // On the admin Unix socket.
  bool local() const { return peer_->process.has_value(); }
  // Proven in the handshake.
  const std::optional<spiffe::SpiffeId>& id() const { return peer_->spiffe_id; }
  // The address without its port, for limits.
  std::string host() const;

  // With caller_addr, caller_id, request_id and what it is authorized as. Built when first asked
  // for: most calls log nothing.
  const Logger& log();
  // The same for a line of this level: nothing is built when such lines are not written.
  const Logger& log(LogLevel level) { return base_.enabled(level) ? log() : base_; }

 private:
  std::shared_ptr<const io::Peer> peer_;
  const Logger& base_;
  std::string method_;
  Random& random_;
  std::optional<Logger> log_;

 public:
  AuditTrail audit;
  std::string_view authorized_as = "nobody";
  std::string_view authorized_via;
  std::vector<Entry> downstream_entries;  // set for downstream callers
};

}  // namespace steeple::server
