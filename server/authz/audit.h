// SPDX-License-Identifier: Apache-2.0

// The audit trail of one call (audit_log_enabled): lines "API accessed" with type=audit, one per
// call, or one per item for batch calls. Does nothing when auditing is off, so that the work of
// making fields can be saved: ask `enabled`. Used by the thread that serves the call.

#pragma once

#include <vector>

#include "lib/base/error.h"
#include "lib/base/result.h"
#include "lib/telemetry/log.h"

namespace steeple::server {

class AuditTrail {
 public:
  explicit AuditTrail(bool enabled) : enabled_(enabled) {}

  bool enabled() const { return enabled_; }
  // Goes onto every line of the call.
  void add(LogField field);
  // One line for an item of a batch; the call's own line is then left out unless it fails.
  void item(const Logger& log, const Result<void>& status, std::vector<LogField> fields);
  // The call's end.
  void finish(const Logger& log, const Result<void>& status);

 private:
  void write(const Logger& log, const Result<void>& status, std::vector<LogField> fields) const;

  bool enabled_;
  bool itemised_ = false;
  std::vector<LogField> fields_;
};

}  // namespace steeple::server
