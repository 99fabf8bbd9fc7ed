// SPDX-License-Identifier: Apache-2.0

// The release of SPIRE that this provider matches.

#pragma once

namespace steeple::oidc {

inline constexpr const char* kVersion = "1.15.3";

}  // namespace steeple::oidc
