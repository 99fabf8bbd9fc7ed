// SPDX-License-Identifier: Apache-2.0

// JSON as template values. Without a type: what Go's encoding/json gives for interface {} (numbers
// are float64, objects map[string]interface {}). With one: what unmarshalling into that Go type
// gives, so that Kubernetes objects appear under Go's field names; absent fields are zero, unknown
// ones are left out.

#pragma once

#include <nlohmann/json_fwd.hpp>

#include "lib/base/result.h"
#include "lib/gotemplate/value.h"

namespace steeple::gotemplate {

Result<Value> from_json(const nlohmann::json& json);
Result<Value> from_json(const nlohmann::json& json, const TypeRef& type);
// Of JSON text, with the limits of this layer.
Result<Value> from_json_text(std::string_view text);
Result<Value> from_json_text(std::string_view text, const TypeRef& type);

}  // namespace steeple::gotemplate
