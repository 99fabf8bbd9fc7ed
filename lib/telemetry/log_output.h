// SPDX-License-Identifier: Apache-2.0

// The real log output: SPIRE's text or JSON layout to standard output or to a file that can be
// reopened (SIGUSR2). log.h is what everyone else includes.

#pragma once

#include <string>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/telemetry/config.h"
#include "lib/telemetry/log.h"

namespace steeple {

// Opens the output that the configuration asks for. Blocks while opening the file (mode 0640).
Result<Logger> open_log(const LogConfig& config, Clock& clock);
// The same on a descriptor that stays the caller's, for tests and command lines.
Result<Logger> open_log_on(int fd, const LogConfig& config, Clock& clock);

// One line with its newline, as logrus writes it. `nanoseconds`: the time has a fraction, which
// SPIRE writes when log_format is given ("text", "json") and not when it is left out.
std::string format_log_text(const LogEntry& entry, bool nanoseconds, bool source_location);
std::string format_log_json(const LogEntry& entry, bool source_location);

}  // namespace steeple
