// SPDX-License-Identifier: Apache-2.0

// Comparisons of values: the ones of the templates' eq and lt, and Go's reflect.DeepEqual.

#pragma once

#include "lib/base/result.h"
#include "lib/gotemplate/function.h"
#include "lib/gotemplate/value.h"

namespace steeple::gotemplate {

Result<bool> equal(const Value& a, const Value& b, Budget& budget);
Result<bool> less(const Value& a, const Value& b);
Result<bool> deep_equal(const Value& a, const Value& b, Budget& budget, int depth = 0);

}  // namespace steeple::gotemplate
