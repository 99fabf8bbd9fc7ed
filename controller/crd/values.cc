// SPDX-License-Identifier: Apache-2.0

#include "controller/crd/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "spiffe/trust_domain.h"

namespace steeple::controller {

std::int32_t read_ttl(Fields& fields, const char* name) {
  Duration ttl{};
  fields.read_duration(name, ttl, std::chrono::seconds(1));
  auto seconds = std::chrono::floor<std::chrono::seconds>(ttl).count();
  if (seconds > std::numeric_limits<std::int32_t>::max()) {
    fields.findings().problem(fields.path_of(name), "is too large");
    return 0;
  }
  return static_cast<std::int32_t>(seconds);
}

std::vector<std::string> check_trust_domains(const std::vector<std::string>& names,
                                             Findings& findings) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    auto parsed = spiffe::TrustDomain::parse(name);
    if (parsed.ok()) {
      out.push_back(parsed->name());
    } else {
      findings.problems.push_back(
          fmt::format("invalid federatesWith value: {}", parsed.error().message));
    }
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

Result<std::pair<std::string, std::string>> parse_selector(std::string_view text) {
  std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return invalid_argument("expected at least one colon separate the type from the value");
  }
  if (colon == 0) {
    return invalid_argument("type cannot be empty");
  }
  if (colon + 1 == text.size()) {
    return invalid_argument("value cannot be empty");
  }
  return std::pair(std::string(text.substr(0, colon)), std::string(text.substr(colon + 1)));
}

}  // namespace steeple::controller
