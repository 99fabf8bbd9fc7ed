// SPDX-License-Identifier: Apache-2.0

#include "lib/hcl/report.h"

#include <fmt/format.h>

namespace steeple::hcl {

std::string UnknownKeys::joined() const { return fmt::format("{}", fmt::join(keys, ",")); }

void Report::error(Position at, std::string path, std::string message) {
  errors.push_back({at, std::move(path), std::move(message)});
}

void Report::warn(Position at, std::string path, std::string message) {
  warnings.push_back({at, std::move(path), std::move(message)});
}

std::string Report::text(const Problem& problem) const {
  std::string out = file;
  if (problem.at.line > 0) {
    out += (out.empty() ? "" : ":") + problem.at.text();
  }
  if (!problem.path.empty()) {
    out += (out.empty() ? "" : ": ") + problem.path;
  }
  return out + (out.empty() ? "" : ": ") + problem.message;
}

Result<void> Report::result(bool unknown_is_error) const {
  std::string all;
  auto add = [&](const Problem& problem) {
    all += all.empty() ? text(problem) : "\n" + text(problem);
  };
  for (const Problem& problem : errors) {
    add(problem);
  }
  if (unknown_is_error) {
    for (const UnknownKeys& block : unknown) {
      for (const Problem& place : block.places) {
        add(place);
      }
    }
  }
  if (all.empty()) {
    return {};
  }
  return invalid_argument(std::move(all));
}

}  // namespace steeple::hcl
