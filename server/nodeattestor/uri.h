// SPDX-License-Identifier: Apache-2.0

// Parts of URIs in certificates (RFC 3986), as Go's net/url takes them apart.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace steeple::server {

struct Uri {
  std::string scheme, host;  // host: without user, with port
  std::string_view rest;     // path, query and fragment; empty where no authority stands ("urn:x")
};
Uri split_uri(std::string_view text);

// The path of a `rest`, percent decoded; nothing when the escapes are bad.
std::optional<std::string> uri_path(std::string_view rest);

}  // namespace steeple::server
