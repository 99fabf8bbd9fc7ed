// SPDX-License-Identifier: Apache-2.0

#include "spiffe/spiffe_id.h"

#include <algorithm>

#include "lib/base/limits.h"

namespace spiffe {
namespace {

using steeple::Error;
using steeple::invalid_argument;
using steeple::Result;

bool is_domain_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}
bool is_path_char(char c) { return is_domain_char(c) || (c >= 'A' && c <= 'Z'); }

Error bad_domain_char() {
  return invalid_argument(
      "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and "
      "underscores");
}

Result<void> validate_domain(std::string_view name) {
  if (name.empty()) {
    return invalid_argument("trust domain is missing");
  }
  if (!std::all_of(name.begin(), name.end(), is_domain_char)) {
    return bad_domain_char();
  }
  if (name.size() > steeple::limits::kTrustDomainBytesMax) {
    return invalid_argument("trust domain is too long");
  }
  return {};
}

}  // namespace

Result<void> validate_path(std::string_view path) {
  if (path.empty()) {
    return {};
  }
  if (path.front() != '/') {
    return invalid_argument("path must have a leading slash");
  }
  path.remove_prefix(1);
  while (true) {
    std::size_t end = std::min(path.find('/'), path.size());
    std::string_view segment = path.substr(0, end);
    bool last = end == path.size();
    if (segment.empty()) {
      return invalid_argument(last ? "path cannot have a trailing slash"
                                   : "path cannot contain empty segments");
    }
    if (segment == "." || segment == "..") {
      return invalid_argument("path cannot contain dot segments");
    }
    if (!std::all_of(segment.begin(), segment.end(), is_path_char)) {
      return invalid_argument(
          "path segment characters are limited to letters, numbers, dots, dashes, and "
          "underscores");
    }
    if (last) {
      return {};
    }
    path.remove_prefix(end + 1);
  }
}

Result<TrustDomain> TrustDomain::parse(std::string_view name_or_id) {
  if (name_or_id.empty()) {
    return invalid_argument("trust domain is missing");
  }
  // Anything with a scheme is meant as an ID, so that a wrong scheme is told as such.
  if (name_or_id.find(":/") != std::string_view::npos) {
    return TRY(SpiffeId::parse(name_or_id)).trust_domain();
  }
  TRY(validate_domain(name_or_id));
  return TrustDomain(std::string(name_or_id));
}

SpiffeId TrustDomain::id() const {
  std::string text = id_string();
  std::size_t at = text.size();
  return SpiffeId(std::move(text), at);
}

Result<SpiffeId> SpiffeId::parse(std::string_view text) {
  if (text.empty()) {
    return invalid_argument("cannot be empty");
  }
  if (!text.starts_with(kPrefix)) {
    return invalid_argument("scheme is missing or invalid");
  }
  if (text.size() > steeple::limits::kSpiffeIdBytesMax) {
    return invalid_argument("SPIFFE ID is longer than 2048 bytes");
  }
  std::size_t path_at = std::min(text.find('/', kPrefix.size()), text.size());
  TRY(validate_domain(text.substr(kPrefix.size(), path_at - kPrefix.size())));
  TRY(validate_path(text.substr(path_at)));
  return SpiffeId(std::string(text), path_at);
}

Result<SpiffeId> SpiffeId::make(const TrustDomain& domain, std::string_view path) {
  TRY(validate_path(path));
  std::string text = domain.id_string();
  std::size_t at = text.size();
  text += path;
  if (text.size() > steeple::limits::kSpiffeIdBytesMax) {
    return invalid_argument("SPIFFE ID is longer than 2048 bytes");
  }
  return SpiffeId(std::move(text), at);
}

}  // namespace spiffe
