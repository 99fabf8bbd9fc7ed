// SPDX-License-Identifier: Apache-2.0

// The version that the command line, the agents and the metrics are told: the release of SPIRE that
// we match.

#pragma once

namespace steeple::server {

inline constexpr const char* kVersion = "1.15.3";

}  // namespace steeple::server
