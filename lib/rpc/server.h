// SPDX-License-Identifier: Apache-2.0

// The gRPC server side over nghttp2. Give it connections; it speaks HTTP/2 on them and calls
// handlers by method name.
//
// Threads: a Server and its streams live on one loop. Unary handlers run on a worker (or on the
// loop, for those that are registered so because they only read memory) and are plain functions
// that return a Result. Streams are objects on the loop. The `authorize` hook runs before every
// handler, on the same thread as a unary handler would, and a refusal is the call's status.
// Destroy a Server on its loop, not from inside its own handlers; what then still runs on workers
// finishes unheard. The workers must end before the loop does.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/limits.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/io/connection.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/rpc/call.h"

namespace google::protobuf {
class ServiceDescriptor;
}

namespace steeple::rpc {

class ServerCore;

using ContextPtr = std::shared_ptr<CallContext>;
using UnaryHandler = std::function<Result<Bytes>(CallContext&, ByteView request)>;

// One streaming call, server side (server streaming and bidirectional alike). Kept alive by the
// connection until closed and by whoever holds the pointer; after `on_closed` ran, sends do
// nothing.
class ServerStream {
 public:
  virtual ~ServerStream() = default;
  virtual CallContext& context() = 0;
  virtual io::Loop& loop() = 0;
  // For server streaming: called once with the request. For bidirectional: per message, in order.
  // While `pause(true)` holds, no further message is delivered and the window closes.
  virtual void on_message(std::function<void(ByteView)> handler) = 0;
  virtual void on_half_close(std::function<void()> handler) = 0;
  // The last callback, exactly once: finished by us, reset or cancelled by the peer, deadline.
  virtual void on_closed(std::function<void()> handler) = 0;
  virtual void pause(bool paused) = 0;
  virtual void send(Bytes message) = 0;
  // Bytes handed to `send` that the peer has not taken yet.
  virtual std::size_t buffered_bytes() const = 0;
  // Trailers; later sends are ignored.
  virtual void finish(Result<void> status) = 0;
};
using StreamHandler = std::function<void(std::shared_ptr<ServerStream>)>;

enum class Where : std::uint8_t { kWorker, kLoop };

struct ServerOptions {
  std::size_t message_bytes_max = limits::kMessageBytesMax;
  std::uint32_t streams_per_connection_max = limits::kStreamsPerConnectionMax;
  Duration connection_age_max = Duration::max();  // with +-10 % jitter; max() = unlimited
  Duration connection_age_grace = limits::kGracefulStop;
  Duration preface_timeout = limits::kHandshakeTimeout;
  Duration keepalive_interval = std::chrono::hours(2);  // PING after this much silence
  Duration keepalive_timeout = std::chrono::seconds(20);
  std::size_t connections_max = limits::kConnectionsMax;
  std::size_t connections_per_uid_max = limits::kConnectionsPerUidMax;  // Unix sockets
  bool malloc_trim_after_bursts = true;
};

struct ServerHooks {
  // Empty: every call is allowed.
  std::function<Result<void>(CallContext&)> authorize = {};
  // After each call, on the loop: for metrics and the audit log.
  std::function<void(const CallContext&, Code, Duration took)> observe = {};
};

class Server {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    Random& random;
  };

  Server(Deps deps, ServerOptions options, ServerHooks hooks);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Before the first connection. `method` is the full path with its leading slash.
  void unary(std::string method, Where where, UnaryHandler handler);
  void stream(std::string method, StreamHandler handler);
  // Announces the service for reflection; needed for each service that has handlers.
  void describe(const google::protobuf::ServiceDescriptor* service);
  // grpc.health.v1 (Check, List, Watch; a non-empty service name is InvalidArgument).
  void add_health(const std::function<bool()>& serving);
  // grpc.reflection v1 and v1alpha, over the described services.
  void add_reflection();

  // Takes over an accepted connection (after its TLS handshake, if any). On the loop.
  void serve(std::unique_ptr<io::Connection> connection);
  // GOAWAY to all, wait for running calls up to `grace`, close the rest, then `done`. On the loop.
  void shutdown(Duration grace, io::Task done);
  std::size_t connection_count() const;

 private:
  std::shared_ptr<ServerCore> core_;
};

// Typed registration: add_unary<Request, Response>(server, "/pkg.Service/Method", where, f) with
// f: Result<Response>(CallContext&, const Request&). A request that does not parse is
// kInternal, as in grpc-go.
template <class Request, class Response, class Function>
void add_unary(Server& server, std::string method, Where where, Function function) {
  server.unary(std::move(method), where,
               [function = std::move(function)](CallContext& call, ByteView raw) -> Result<Bytes> {
                 Request request;
                 if (!request.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
                   return internal("grpc: error unmarshalling request");
                 }
                 Response response = TRY(function(call, request));
                 return response.SerializeAsString();
               });
}

}  // namespace steeple::rpc
