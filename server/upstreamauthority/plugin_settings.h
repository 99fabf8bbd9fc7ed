// SPDX-License-Identifier: Apache-2.0

// Settings of a server plugin from its configuration, for all catalogs. Reads no file.

#pragma once

#include <string_view>

#include "lib/hcl/schema.h"
#include "lib/telemetry/log.h"

namespace steeple::server {

// The reference reads plugin settings without looking for unknown keys, so they only warn. `doing`
// stands before an error.
template <class Config>
Result<Config> decode_settings(const hcl::Schema<Config>& schema, const hcl::Value& data,
                               const Logger& log, std::string_view doing) {
  hcl::Report report;
  Config config = schema.decode(data, report);
  TRY(report.result(/*unknown_is_error=*/false).during(doing));
  for (const auto& unknown : report.unknown) {
    LOG_WARN(log, "Unknown configuration detected", {"keys", unknown.joined()},
             {"section", unknown.section});
  }
  return config;
}

}  // namespace steeple::server
