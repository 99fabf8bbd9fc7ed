// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/server_call.h"

#include <fmt/format.h>

#include "lib/rpc/server_connection.h"
#include "lib/rpc/status.h"

namespace steeple::rpc {
namespace {

constexpr std::string_view kContentType = "application/grpc";

// "application/grpc", alone or followed by "+subtype" or ";parameters".
bool is_grpc(std::string_view content_type) {
  if (!content_type.starts_with(kContentType)) {
    return false;
  }
  content_type.remove_prefix(kContentType.size());
  return content_type.empty() || content_type[0] == '+' || content_type[0] == ';';
}

// Binary headers are base64 with or without padding.
std::string decode_binary(std::string_view value) {
  std::string padded(value);
  while (padded.size() % 4 != 0) {
    padded += '=';
  }
  Result<Bytes> raw = base64_decode(padded);
  return raw.ok() ? std::move(*raw) : std::string(value);
}

// Trailers as nghttp2 wants them; it copies, so the texts need live only for the submit.
struct TrailerList {
  explicit TrailerList(const Result<void>& status) : headers(encode_status(status)) {
    list.push_back(header_of("grpc-status", headers.grpc_status));
    if (headers.grpc_message) {
      list.push_back(header_of("grpc-message", *headers.grpc_message));
    }
    if (headers.details_bin) {
      list.push_back(header_of("grpc-status-details-bin", *headers.details_bin));
    }
  }
  StatusHeaders headers;
  std::vector<nghttp2_nv> list;
};

Result<Bytes> run_handler(const Registry& registry, const Method& method, CallContext& context,
                          ByteView request) {
  if (registry.hooks.authorize) {
    TRY(registry.hooks.authorize(context));
  }
  return method.unary(context, request);
}

}  // namespace

ServerCall::ServerCall(ServerConnection& connection, std::int32_t stream_id)
    : connection_(&connection),
      loop_(connection.loop()),
      context_(std::make_shared<CallContext>()),
      registry_(connection.core().registry),
      reader_(connection.core().options.message_bytes_max),
      deadline_(loop_),
      began_(loop_.clock().steady()) {
  id = stream_id;
  context_->peer = connection.peer();
}

bool ServerCall::header(std::string_view name, std::string_view value) {
  header_bytes_ += name.size() + value.size() + kHeaderOverheadBytes;
  if (header_bytes_ > limits::kHeaderListBytesMax) {
    return false;
  }
  if (name == ":path") {
    context_->method = value;
  } else if (name == ":method") {
    is_post_ = value == "POST";
    if (!is_post_) {
      status_ = internal(
          fmt::format("Received a HEADERS frame with :method \"{}\" which should be POST", value));
    }
  } else if (name == "content-type") {
    content_type_ = value;
  } else if (name == "grpc-timeout") {
    timeout_ = value;
  } else if (name == "grpc-encoding") {
    encoding_ = value;
  } else if (name == "connection") {
    malformed_ = true;
  } else if (name == ":authority") {
    ++authorities_;
    context_->metadata.emplace_back(name, value);
  } else if (name != ":scheme" && name != "te" && name != "grpc-accept-encoding") {
    hosts_ = static_cast<std::uint8_t>(hosts_ + (name == "host" ? 1 : 0));
    context_->metadata.emplace_back(name, name.ends_with("-bin") ? decode_binary(value) : value);
  }
  return true;
}

// What HTTP and gRPC ask of a request before its method matters; texts and order as in grpc-go.
bool ServerCall::refuse_malformed() {
  if (authorities_ > 1 || hosts_ > 1) {
    abort_early(400, internal(fmt::format(
                         "num values of :authority: {}, num values of host: {}, both must only "
                         "have 1 value as per HTTP/2 spec",
                         authorities_, hosts_)));
    return true;
  }
  if (!is_grpc(content_type_)) {
    abort_early(415, invalid_argument(
                         fmt::format("invalid gRPC request content-type \"{}\"", content_type_)));
    return true;
  }
  if (!timeout_.empty()) {
    Result<Duration> timeout = decode_timeout(timeout_);
    if (!timeout.ok()) {
      abort_early(400, std::move(timeout.error()).during("malformed grpc-timeout"));
      return true;
    }
    SteadyTime now = began_;
    context_->deadline = *timeout < SteadyTime::max() - now ? now + *timeout : SteadyTime::max();
  }
  if (!is_post_) {
    abort_early(405, status_.ok() ? internal("no :method") : std::move(status_).error());
    return true;
  }
  return false;
}

void ServerCall::headers_done(bool end_of_request) {
  if (malformed_) {
    nghttp2_submit_rst_stream(connection_->h2(), NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  request_ended_ = end_of_request;
  if (refuse_malformed()) {
    return;
  }
  auto found = registry_->methods.find(context_->method);
  if (found == registry_->methods.end()) {
    std::string_view path = context_->method;
    std::size_t slash = path.rfind('/');
    if (path.empty() || path[0] != '/' || slash == 0) {
      finish(unimplemented(fmt::format("malformed method name: \"{}\"", path)));
      return;
    }
    std::string_view service = path.substr(1, slash - 1);
    bool known = registry_->services.contains(service);
    finish(unimplemented(
        known ? fmt::format("unknown method {} for service {}", path.substr(slash + 1), service)
              : fmt::format("unknown service {}", service)));
    return;
  }
  method_ = &found->second;
  if (!encoding_.empty() && encoding_ != "identity") {
    finish(unimplemented(
        fmt::format("grpc: Decompressor is not installed for grpc-encoding \"{}\"", encoding_)));
    return;
  }
  start_deadline();
  if (!finished_ && method_->stream) {
    start_stream();
  }
  if (end_of_request && !finished_) {
    request_ended_ = false;
    request_ended();
  }
}

void ServerCall::start_deadline() {
  if (context_->deadline == SteadyTime::max()) {
    return;
  }
  auto expire = [this] {
    context_->cancelled = true;
    finish(deadline_exceeded("context deadline exceeded"));
  };
  Duration left = context_->deadline - began_;
  if (left <= Duration::zero()) {
    expire();
    return;
  }
  deadline_.start(left, expire);
}

void ServerCall::start_stream() {
  if (registry_->hooks.authorize) {
    Result<void> allowed = registry_->hooks.authorize(*context_);
    if (!allowed.ok()) {
      finish(std::move(allowed));
      return;
    }
  }
  method_->stream(shared_from_this());
}

void ServerCall::data(ByteView chunk) {
  nghttp2_session* h2 = connection_->h2();
  nghttp2_session_consume_connection(h2, chunk.size());
  if (reader_.paused()) {
    unconsumed_ += chunk.size();
  } else {
    nghttp2_session_consume_stream(h2, id, chunk.size());
  }
  if (finished_) {
    return;  // refused already; the rest of the request is of no interest
  }
  settle_input(reader_.feed(chunk, [this](ByteView message) { deliver(message); }));
}

void ServerCall::deliver(ByteView message) {
  if (finished_ || connection_ == nullptr) {
    return;
  }
  if (method_->stream) {
    if (auto handler = on_message_) {  // a copy: it may end the call, and with it its own place
      (*handler)(message);
    }
    return;
  }
  if (request_) {
    finish(
        internal("cardinality violation: received multiple request messages for "
                 "non-client-streaming RPC"));
    return;
  }
  request_.emplace(message);
}

void ServerCall::settle_input(Result<void> fed) {
  if (connection_ == nullptr) {
    return;
  }
  if (!fed.ok()) {
    finish(std::move(fed));
  }
  if (finished_) {
    reader_.stop();
  }
  std::size_t held = finished_ ? 0 : reader_.buffered() + (request_ ? request_->size() : 0);
  std::ptrdiff_t change =
      static_cast<std::ptrdiff_t>(held) - static_cast<std::ptrdiff_t>(accounted_);
  accounted_ = held;
  if (!connection_->account_input(change) && !finished_) {
    finish(resource_exhausted(fmt::format("requests in flight on this connection exceed {} bytes",
                                          limits::kInputBytesPerConnectionMax)));
  }
}

void ServerCall::request_ended() {
  if (request_ended_) {
    return;
  }
  request_ended_ = true;
  if (finished_ || method_ == nullptr) {
    return;
  }
  if (method_->stream) {
    deliver_half_close();
  } else if (!request_) {
    finish(
        internal("cardinality violation: received no request message from non-client-streaming "
                 "RPC"));
  } else {
    run_unary();
  }
}

void ServerCall::deliver_half_close() {
  if (request_ended_ && !reader_.paused() && !half_close_told_ && !finished_) {
    if (reader_.buffered() != 0) {
      finish(internal("unexpected EOF"));
      return;
    }
    half_close_told_ = true;
    if (auto told = std::exchange(on_half_close_, nullptr)) {
      told();
    }
  }
}

void ServerCall::run_unary() {
  if (method_->where == Where::kWorker) {
    run_on_worker();
    return;
  }
  Bytes request = std::move(*request_);
  reply(run_handler(*registry_, *method_, *context_, request));
}

void ServerCall::run_on_worker() {
  if (!connection_->begin_work()) {
    finish(resource_exhausted("too many calls in progress on this connection"));
    return;
  }
  // The worker must not own what belongs to the loop, so it gets weak references only.
  auto work = [registry = registry_, method = method_, context = context_, &loop = loop_,
               request = std::move(*request_), call = weak_from_this(),
               connection = connection_->weak_from_this()]() mutable {
    Result<Bytes> result = cancelled("context canceled");
    if (!context->cancelled) {
      result = run_handler(*registry, *method, *context, request);
    }
    loop.post([call = std::move(call), connection = std::move(connection),
               result = std::move(result)]() mutable {
      if (auto open = connection.lock()) {
        static_cast<ServerConnection&>(*open).end_work();
      }
      if (auto self = call.lock()) {
        self->reply(std::move(result));
      }
    });
  };
  Result<void> submitted = connection_->core().workers.submit(std::move(work));
  if (!submitted.ok()) {
    connection_->end_work();
    finish(unavailable("server is overloaded: " + submitted.error().message));
  }
}

void ServerCall::reply(Result<Bytes> result) {
  if (connection_ == nullptr || finished_) {
    return;
  }
  if (!result.ok()) {
    finish(std::move(result.error()));
    return;
  }
  send(std::move(*result));
  finish({});
}

void ServerCall::on_message(std::function<void(ByteView)> handler) {
  on_message_ = std::make_shared<const std::function<void(ByteView)>>(std::move(handler));
}
void ServerCall::on_half_close(std::function<void()> handler) {
  on_half_close_ = std::move(handler);
}
void ServerCall::on_closed(std::function<void()> handler) { on_closed_ = std::move(handler); }

void ServerCall::pause(bool paused) {
  bool was = reader_.paused();
  reader_.pause(paused);
  if (connection_ == nullptr || !was || paused) {
    return;
  }
  if (unconsumed_ > 0) {
    nghttp2_session_consume_stream(connection_->h2(), id, std::exchange(unconsumed_, 0));
    connection_->request_flush();
  }
  settle_input(reader_.drain([this](ByteView message) { deliver(message); }));
  if (connection_ != nullptr) {
    deliver_half_close();
  }
}

void ServerCall::send(Bytes message) {
  if (connection_ == nullptr || finished_) {
    return;
  }
  queue.push(std::move(message));
  if (!headers_sent_) {
    submit_headers();
  }
  connection_->resume(*this);
}

void ServerCall::submit_headers() {
  headers_sent_ = true;
  const std::array<nghttp2_nv, 2> list = {header_of(":status", "200"),
                                          header_of("content-type", kContentType)};
  nghttp2_data_provider provider = connection_->provider_of(*this);
  nghttp2_submit_response(connection_->h2(), id, list.data(), list.size(), &provider);
}

void ServerCall::finish(Result<void> status) {
  if (connection_ == nullptr || finished_) {
    return;
  }
  finished_ = true;
  deadline_.cancel();
  status_ = std::move(status);
  reader_.stop();
  if (headers_sent_) {
    ended = true;
    connection_->resume(*this);
  } else {
    submit_trailers_only(200, status_);
  }
}

void ServerCall::abort_early(int http_status, Error error) {
  finished_ = true;
  status_ = std::move(error);
  reader_.stop();
  submit_trailers_only(http_status, status_);
}

void ServerCall::submit_trailers_only(int http_status, const Result<void>& status) {
  headers_sent_ = true;
  TrailerList trailers(status);
  std::string http = std::to_string(http_status);
  std::vector<nghttp2_nv> list = {header_of(":status", http),
                                  header_of("content-type", kContentType)};
  list.insert(list.end(), trailers.list.begin(), trailers.list.end());
  nghttp2_submit_response(connection_->h2(), id, list.data(), list.size(), nullptr);
  connection_->request_flush();
}

void ServerCall::submit_trailers() {
  TrailerList trailers(status_);
  nghttp2_submit_trailer(connection_->h2(), id, trailers.list.data(), trailers.list.size());
}

// We are done before the client is: without this it would go on sending (RFC 9113 8.1).
void ServerCall::trailers_sent() {
  if (!request_ended_) {
    nghttp2_submit_rst_stream(connection_->h2(), NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
  }
}

void ServerCall::closed(std::uint32_t) {
  if (connection_ == nullptr) {
    return;
  }
  std::shared_ptr<ServerCall> self = shared_from_this();
  connection_->account_input(-static_cast<std::ptrdiff_t>(accounted_));
  connection_ = nullptr;
  deadline_.cancel();
  context_->cancelled = true;
  if (!finished_) {
    status_ = cancelled("context canceled");
  }
  on_message_ = nullptr;
  on_half_close_ = nullptr;
  if (auto told = std::exchange(on_closed_, nullptr)) {
    told();
  }
  if (registry_->hooks.observe) {
    registry_->hooks.observe(*context_, status_.ok() ? Code::kOk : status_.error().code,
                             loop_.clock().steady() - began_);
  }
}

}  // namespace steeple::rpc
