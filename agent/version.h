// SPDX-License-Identifier: Apache-2.0

// The version that the command line, the server and the metrics are told: the release of SPIRE that
// this agent matches.

#pragma once

namespace steeple::agent {

inline constexpr const char* kVersion = "1.15.3";

}  // namespace steeple::agent
