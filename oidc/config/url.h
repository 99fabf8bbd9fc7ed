// SPDX-License-Identifier: Apache-2.0

// The URLs, host names and paths that the provider's configuration and documents are made of, with
// the rules of Go's net/url, net and idna, because the reference's documents and refusals come from
// them. Pure; any thread.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace steeple::oidc {

struct Url {
  std::string text;    // as a document shows it
  std::string scheme;  // lower case; empty when there is none
  std::string host;    // with its port, without user information; may be empty
  std::string path;    // escaped
};

// Go's texts: `parse "x": invalid port ":y" after host`.
Result<Url> parse_url(std::string_view text);

// Both parts joined and cleaned (".", "..", "//"), with a slash in front: "/a/keys".
std::string join_path(std::string_view base, std::string_view leaf);

// The host of "host:port", or the text itself when it is not of that form.
std::string_view host_of(std::string_view host_and_port);

// A lower-case ASCII host name that could be looked up. Others are refused in the reference's
// words: `domain "a/b" is not a valid domain name: idna: disallowed rune U+002F`.
Result<void> check_domain(std::string_view domain);

}  // namespace steeple::oidc
