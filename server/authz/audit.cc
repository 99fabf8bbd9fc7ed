// SPDX-License-Identifier: Apache-2.0

#include "server/authz/audit.h"

namespace steeple::server {

void AuditTrail::add(LogField field) {
  if (enabled_) {
    fields_.push_back(std::move(field));
  }
}

void AuditTrail::item(const Logger& log, const Result<void>& status, std::vector<LogField> fields) {
  itemised_ = true;
  write(log, status, std::move(fields));
}

void AuditTrail::finish(const Logger& log, const Result<void>& status) {
  if (!itemised_ || !status.ok()) {
    write(log, status, fields_);
  }
}

void AuditTrail::write(const Logger& log, const Result<void>& status,
                       std::vector<LogField> fields) const {
  if (!enabled_) {
    return;
  }
  Logger line = log.with({"type", "audit"}).with({"status", status.ok() ? "success" : "error"});
  if (!status.ok()) {
    line = line.with({"status_code", code_name(status.error().code)})
               .with({"status_message", status.error().message});
  }
  for (LogField& field : fields) {
    line = line.with(std::move(field));
  }
  LOG_INFO(line, "API accessed");
}

}  // namespace steeple::server
