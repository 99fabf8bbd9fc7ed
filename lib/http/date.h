// SPDX-License-Identifier: Apache-2.0

// Dates as HTTP writes them (RFC 9110, 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT". Pure; any thread.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"

namespace steeple::http {

// Whole seconds, rounded down.
std::string format_date(WallTime time);
// The one form that is still to be sent. Nothing for the obsolete ones, as for any other text: a
// condition with such a date counts as not given.
std::optional<WallTime> parse_date(std::string_view text);

}  // namespace steeple::http
