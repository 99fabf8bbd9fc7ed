// SPDX-License-Identifier: Apache-2.0

// The address of the Workload API (Workload Endpoint section 4): unix:///absolute/path without an
// authority, or tcp://ip:port without a path. Pure, but for the environment it is told.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/io/network.h"

namespace spiffe {

inline constexpr const char* kEndpointSocketVariable = "SPIFFE_ENDPOINT_SOCKET";

steeple::Result<steeple::io::Endpoint> parse_address(std::string_view address);
// SPIFFE_ENDPOINT_SOCKET of this process.
std::optional<std::string> default_address();

}  // namespace spiffe
