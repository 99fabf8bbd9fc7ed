// SPDX-License-Identifier: Apache-2.0

// What decoding found: errors, warnings (deprecated keys) and unknown keys. Decoding collects all
// of it, so that a user sees every mistake of a file at once. A plain value.

#pragma once

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/hcl/value.h"

namespace steeple::hcl {

struct Problem {
  Position at;
  std::string path;  // "server.ca_ttl"
  std::string message;
};

// The keys of one block that no schema knows, sorted. `section` is SPIRE's name of the block.
// Logged as `Unknown configuration detected` with the fields keys (joined by ',') and section.
struct UnknownKeys {
  std::string section;
  std::vector<std::string> keys;
  std::vector<Problem> places;  // one per key, for people
  std::string joined() const;
};

struct Report {
  std::string file;  // prefix of the places in texts; may be empty
  std::vector<Problem> errors;
  std::vector<Problem> warnings;
  std::vector<UnknownKeys> unknown;

  bool ok() const { return errors.empty() && unknown.empty(); }
  void error(Position at, std::string path, std::string message);
  void warn(Position at, std::string path, std::string message);
  // "server.conf:12:3: server.ca_ttl: time: invalid duration "1x"".
  std::string text(const Problem& problem) const;
  // The errors as one invalid_argument, one line each; unknown keys count as errors when asked.
  Result<void> result(bool unknown_is_error = true) const;
};

}  // namespace steeple::hcl
