// SPDX-License-Identifier: Apache-2.0

// Reads configuration text: HCL1 (the grammar of hashicorp/hcl v1) or JSON, told apart as the
// reference does, by a '{' as the first character. Strict, with limits on size, depth and nodes;
// `${...}` inside strings is passed through. Errors say "line:column: what".

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/hcl/value.h"

namespace steeple::hcl {

// The root is an object.
Result<Value> parse(std::string_view text);

// The value of an environment variable, or nothing when it is not set.
using Environment = std::function<std::optional<std::string>(std::string_view name)>;
Environment process_environment();

// Go's os.Expand as `-expandEnv` uses it: $VAR, ${VAR}, unset variables are empty, `$$` is `$`.
std::string expand_env(std::string_view text, const Environment& environment);

struct LoadOptions {
  bool expand_env = false;
  Environment environment;  // needed when expand_env is set
};

// Reads and parses a file; errors carry SPIRE's words ("could not find config file ...").
// Blocks, so call it at start-up or on a worker.
Result<Value> load_file(const std::string& path, const LoadOptions& options = {});

}  // namespace steeple::hcl
