// SPDX-License-Identifier: Apache-2.0

// The release of the reference's controller manager that this one matches.

#pragma once

namespace steeple::controller {

inline constexpr const char* kVersion = "0.6.6";

}  // namespace steeple::controller
