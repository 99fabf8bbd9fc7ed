// SPDX-License-Identifier: Apache-2.0

// The functions of the sprig library that SPIRE lets agent path templates use (template_engine.md),
// as a table for Template::parse. Digests come from outside, since this layer stands below crypto.

#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "lib/base/random.h"
#include "lib/gotemplate/function.h"

namespace steeple::gotemplate {

struct SprigNeeds {
  std::function<std::string(std::string_view)> sha1 = nullptr;    // raw digest; empty: no sha1sum
  std::function<std::string(std::string_view)> sha256 = nullptr;  // raw digest; empty: no sha256sum
  Random* random = nullptr;  // for uuidv4; null: no uuidv4. Outlives the templates.
};

Functions sprig(SprigNeeds needs);

}  // namespace steeple::gotemplate
