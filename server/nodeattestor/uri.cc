// SPDX-License-Identifier: Apache-2.0

#include "server/nodeattestor/uri.h"

#include "lib/base/bytes.h"

namespace steeple::server {

Uri split_uri(std::string_view text) {
  Uri out;
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) {
    return out;
  }
  for (char c : text.substr(0, colon)) {
    out.scheme += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  text.remove_prefix(colon + 1);
  if (!text.starts_with("//")) {
    return out;
  }
  text.remove_prefix(2);
  const auto end = std::min(text.find_first_of("/?#"), text.size());
  std::string_view authority = text.substr(0, end);
  authority.remove_prefix(authority.rfind('@') + 1);  // npos + 1 is 0
  out.host = authority;
  out.rest = text.substr(end);
  return out;
}

std::optional<std::string> uri_path(std::string_view rest) {
  rest = rest.substr(0, rest.find_first_of("?#"));
  std::string out;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] != '%') {
      out += rest[i];
      continue;
    }
    auto byte = hex_decode(rest.substr(i + 1, 2));
    if (!byte.ok() || byte->size() != 1) {
      return std::nullopt;
    }
    out += *byte;
    i += 2;
  }
  return out;
}

}  // namespace steeple::server
