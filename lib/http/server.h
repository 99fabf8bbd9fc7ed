// SPDX-License-Identifier: Apache-2.0

// An HTTP/1.1 server for small pages: metrics, health, the bundle endpoint, OIDC, the console.
// One request at a time per connection (keep-alive, no pipelining ahead); limits on connections,
// header, body and time. Everything happens on one loop.
//
//   http::Server server(loop, log, {});
//   server.route("/live", [](const http::Request&, http::Respond respond) {
//     respond({.status = 200, .content_type = "application/json", .body = "{}\n"});
//   });
//   TRY(server.listen(network, io::Endpoint::tcp("localhost", 80)));

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/limits.h"
#include "lib/base/result.h"
#include "lib/io/connection.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/tls/handshake.h"

namespace steeple::http {

struct Header {
  std::string name;
  std::string value;
};

struct Request {
  std::string method;  // "GET"
  std::string path;    // "/live": percent-encoding kept, query taken off
  std::string query;   // without the '?'
  std::vector<Header> headers;
  Bytes body;
  const io::Peer* peer = nullptr;  // valid while the handler runs

  // The first header of that name (any case), or empty.
  std::string_view header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = {};
  std::vector<Header> headers = {};
  Bytes body = {};
};

// Answers the request, now or later, at most once, from any thread (the loop must still live then).
// Dropped unanswered: 500. No effect when the client or the server has gone meanwhile.
using Respond = std::move_only_function<void(Response)>;
using Handler = std::function<void(const Request&, Respond)>;

struct ServerOptions {
  std::size_t connections_max = limits::kHttpConnectionsMax;
  std::size_t header_bytes_max = limits::kHeaderListBytesMax;
  std::size_t body_bytes_max = limits::kHttpBodyBytesMax;
  // From the first byte of a request to its last (408), from there to the answer (503), and for
  // writing it.
  Duration request_timeout = limits::kHttpTimeout;
  Duration idle_timeout = limits::kHttpTimeout;  // between requests
  // Request methods that handlers see; others get 405. HEAD is served by the GET handler.
  std::vector<std::string> methods = {"GET", "HEAD"};
};

class Server {
 public:
  Server(io::Loop& loop, ServerOptions options);
  ~Server();  // closes every connection at once
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Before the first connection. An exact path; "" is the fallback for all others (else 404).
  void route(std::string path, Handler handler);

  // Listens as well as serving; may be called for several endpoints. With a handshake and a policy
  // connections are TLS (the policy's ALPN should say "http/1.1").
  Result<void> listen(io::Network& network, const io::Endpoint& at, io::ListenOptions options = {},
                      tls::Handshake* handshake = nullptr,
                      std::shared_ptr<const tls::ServerPolicy> policy = nullptr);
  // The endpoints, with real ports.
  std::vector<io::Endpoint> endpoints() const;

  // Serves a connection that someone else accepted (and wrapped in TLS).
  void serve(std::unique_ptr<io::Connection> connection);

  // Stops listening, lets running requests end within the time, then closes. `done` runs once.
  void stop(Duration graceful, io::Task done);
  std::size_t connections() const;

 private:
  class Session;
  struct State;
  std::shared_ptr<State> state_;
};

// "Not Found" for 404.
std::string_view reason_phrase(int status);

}  // namespace steeple::http
