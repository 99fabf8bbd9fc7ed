// SPDX-License-Identifier: Apache-2.0

// The seam below the client: HTTPS exchanges whose bodies arrive in pieces. The real one is libcurl
// (curl_transport.h), the twin for tests is scripted (fake_transport.h). Knows nothing of
// Kubernetes. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/kube/call.h"

namespace steeple::kube {

// Whom to trust and who we are. Immutable and shared, because connections are kept per material.
struct TlsMaterial {
  std::string ca_pem = {};       // empty: the system's roots
  std::string cert_pem = {};     // chain of the client certificate, or empty
  std::string key_pem = {};      // its key
  std::string server_name = {};  // to ask for and to verify; empty: the host of the URL
  bool verify_chain = true;
  bool verify_name = true;  // false with verify_chain: any name of a trusted certificate
  bool plain_http = false;  // http:// URLs are taken, too
};

struct HttpHeader {
  std::string name;
  std::string value;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;  // https, unless `tls` says otherwise
  std::vector<HttpHeader> headers = {};
  Bytes body = {};
  std::shared_ptr<const TlsMaterial> tls = {};  // null: the system's roots
  Duration timeout = std::chrono::seconds(30);  // of the whole exchange
};

struct HttpHead {
  int status = 0;
  std::vector<HttpHeader> headers = {};  // names in lower case

  // The first of that name (lower case), or empty.
  std::string_view header(std::string_view name) const;
};

// Called in this order, on the loop, never from inside `start`. Any HTTP status is a success of
// the transport.
struct HttpEvents {
  std::function<void(const HttpHead&)> on_head;
  std::function<void(ByteView)> on_data;
  // Once, last: kUnavailable or kDeadlineExceeded when the exchange broke.
  std::move_only_function<void(Result<void>)> on_end;
};

class Transport {
 public:
  virtual ~Transport() = default;  // calls under way end silently
  [[nodiscard]] virtual CallPtr start(HttpRequest request, HttpEvents events) = 0;
};

}  // namespace steeple::kube
