// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/resource.h"

#include <fmt/format.h>

#include "lib/base/check.h"

namespace steeple::kube {
namespace {

bool is_unreserved(char c) {  // RFC 3986 section 2.3
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

// As the API server's path segment names, which are wider than DNS names (RBAC uses ':').
Result<void> check_segment(std::string_view what, std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.size() > 253 ||
      name.find_first_of("/%?#\\") != std::string_view::npos) {
    return invalid_argument(fmt::format("{} \"{}\" is not valid in a path", what, name));
  }
  for (char c : name) {
    if (static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7f) {
      return invalid_argument(fmt::format("{} has characters that are not valid in a path", what));
    }
  }
  return {};
}

}  // namespace

std::string Resource::api_version() const {
  return group.empty() ? std::string(version) : fmt::format("{}/{}", group, version);
}

std::string percent_encode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Result<std::string> target_path(const Target& target) {
  const Resource& resource = target.resource;
  std::string path =
      fmt::format("/{}/{}", resource.group.empty() ? "api" : "apis", resource.api_version());
  if (resource.namespaced && !target.name_space.empty()) {
    TRY(check_segment("namespace", target.name_space));
    path += "/namespaces/" + percent_encode(target.name_space);
  }
  if (!resource.namespaced && !target.name_space.empty()) {
    return invalid_argument(fmt::format("{} have no namespace", resource.plural));
  }
  path += '/';
  path += resource.plural;
  if (target.name.empty()) {
    if (!target.subresource.empty()) {
      return invalid_argument("a subresource needs the name of its object");
    }
    return path;
  }
  if (resource.namespaced && target.name_space.empty()) {
    return invalid_argument(fmt::format("{} \"{}\" needs a namespace", resource.kind, target.name));
  }
  TRY(check_segment("name", target.name));
  path += '/' + percent_encode(target.name);
  if (!target.subresource.empty()) {
    TRY(check_segment("subresource", target.subresource));
    path += '/' + percent_encode(target.subresource);
  }
  return path;
}

}  // namespace steeple::kube
