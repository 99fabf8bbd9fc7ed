// SPDX-License-Identifier: Apache-2.0

// Values that several custom resources share: times to live, trust domain names, selectors.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller/config/fields.h"
#include "lib/base/result.h"

namespace steeple::controller {

// Seconds, from "1h" or 3600; fractions are cut off as in the reference. 0 when absent.
std::int32_t read_ttl(Fields& fields, const char* name);

// Sorted, without repetition.
std::vector<std::string> check_trust_domains(const std::vector<std::string>& names,
                                             Findings& findings);

// "type:value", both non-empty. Error texts are the reference's.
Result<std::pair<std::string, std::string>> parse_selector(std::string_view text);

}  // namespace steeple::controller
