// SPDX-License-Identifier: Apache-2.0

// Fetches one document over HTTPS, or over HTTP on a Unix socket (the agent's trust_bundle_url).
// libcurl is loaded when the first fetch happens, so a daemon that never fetches does not pay for
// it. Blocks: call it on a worker or at start-up. Redirects are refused, and so are bodies over
// the limit.

#pragma once

#include <chrono>
#include <string>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"
#include "lib/base/result.h"

namespace steeple::http {

struct FetchRequest {
  std::string url = {};          // https only, unless `unix_socket` is set (then http too)
  std::string unix_socket = {};  // path, or empty
  // PEM; empty: the system's roots, or what SSL_CERT_FILE and SSL_CERT_DIR name instead, as with
  // the reference's programs.
  std::string ca_file = {};
  std::size_t body_bytes_max = limits::kBundleBytesMax;
  Duration timeout = std::chrono::seconds(30);
};

struct FetchResponse {
  int status = 0;
  std::string content_type;
  Bytes body;
};

// Any HTTP status is a response; an error is a URL we refuse, a connection or TLS failure, a body
// too large, or time out.
Result<FetchResponse> fetch(const FetchRequest& request);

}  // namespace steeple::http
