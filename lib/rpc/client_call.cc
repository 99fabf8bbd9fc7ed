// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/client_call.h"

#include <fmt/format.h>

#include <charconv>

#include "lib/rpc/channel_core.h"
#include "lib/rpc/client_connection.h"
#include "lib/rpc/status.h"

namespace steeple::rpc {
namespace {

constexpr std::size_t kResponseHeaderBytesMax = std::size_t{64} << 10;
constexpr int kAttemptsMax = 2;
// A stream that sent more than this before the first answer is not retried.
constexpr std::size_t kRetainedBytesMax = std::size_t{256} << 10;

SteadyTime deadline_of(io::Loop& loop, Duration timeout) {
  SteadyTime now = loop.clock().steady();
  return timeout < SteadyTime::max() - now ? now + timeout : SteadyTime::max();
}

std::string encode_binary(const std::string& value) {
  std::string encoded = base64_encode(value);
  while (encoded.ends_with('=')) {
    encoded.pop_back();
  }
  return encoded;
}

}  // namespace

OutgoingCall::OutgoingCall(ChannelCore& channel, std::string method, CallOptions options)
    : channel_(&channel),
      loop_(channel.deps.loop),
      method_(std::move(method)),
      options_(std::move(options)),
      deadline_(deadline_of(loop_, options_.timeout)),
      timer_(loop_),
      reader_(options_.message_bytes_max) {
  queue.retain(true);
}

void OutgoingCall::answer_stream(StreamReply reply) {
  on_message_ = std::make_shared<const std::function<void(ByteView)>>(std::move(reply.on_message));
  on_done_ = std::move(reply.on_done);
}

void OutgoingCall::start_deadline() {
  if (deadline_ != SteadyTime::max()) {
    timer_.start(std::max(options_.timeout, Duration::zero()),
                 [this] { fail(deadline_exceeded("context deadline exceeded")); });
  }
}

void OutgoingCall::send(Bytes message) {
  if (done_ || ended) {
    return;
  }
  queue.push(std::move(message));
  if (queue.retains() && !unary_ && queue.bytes() > kRetainedBytesMax) {
    queue.retain(false);
  }
  if (connection_ != nullptr) {
    connection_->resume(*this);
  }
}

void OutgoingCall::close_send() {
  if (done_ || ended) {
    return;
  }
  ended = true;
  if (connection_ != nullptr) {
    connection_->resume(*this);
  }
}

void OutgoingCall::cancel() {
  if (done_) {
    return;
  }
  unary_ = nullptr;
  on_done_ = nullptr;
  on_message_ = nullptr;
  reset_stream();
  complete(cancelled("context canceled"));
}

void OutgoingCall::fail(Error error) {
  if (done_) {
    return;
  }
  reset_stream();
  complete(std::move(error));
}

void OutgoingCall::reset_stream() {
  if (connection_ != nullptr) {
    nghttp2_submit_rst_stream(connection_->h2(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    connection_->request_flush();
    connection_ = nullptr;
  }
}

bool OutgoingCall::open_on(ClientConnection& connection) {
  std::string timeout;
  std::vector<std::string> binary;
  binary.reserve(options_.metadata.size());
  std::vector<nghttp2_nv> list = {
      header_of(":method", "POST"),
      header_of(":scheme", connection.peer()->tls ? "https" : "http"),
      header_of(":path", method_),
      header_of(":authority", channel_->authority),
      header_of("content-type", "application/grpc"),
      header_of("user-agent", channel_->options.user_agent),
      header_of("te", "trailers"),
  };
  if (deadline_ != SteadyTime::max()) {
    timeout = encode_timeout(deadline_ - loop_.clock().steady());
    list.push_back(header_of("grpc-timeout", timeout));
  }
  for (const auto& [name, value] : options_.metadata) {
    if (name.ends_with("-bin")) {
      list.push_back(header_of(name, binary.emplace_back(encode_binary(value))));
    } else {
      list.push_back(header_of(name, value));
    }
  }
  nghttp2_data_provider provider = connection.provider_of(*this);
  std::int32_t stream_id =
      nghttp2_submit_request(connection.h2(), nullptr, list.data(), list.size(), &provider, this);
  if (stream_id < 0) {
    return false;
  }
  id = stream_id;
  deferred = false;
  connection_ = &connection;
  ++attempts_;
  connection.request_flush();
  return true;
}

bool OutgoingCall::header(std::string_view name, std::string_view value) {
  header_bytes_ += name.size() + value.size() + kHeaderOverheadBytes;
  if (header_bytes_ > kResponseHeaderBytesMax) {
    return false;
  }
  if (!response_.started) {
    response_.started = true;
    queue.retain(false);
  }
  if (name == ":status") {
    std::from_chars(value.data(), value.data() + value.size(), response_.http_status);
  } else if (name == "content-type") {
    response_.grpc_content = value.starts_with("application/grpc");
  } else if (name == "grpc-status") {
    response_.grpc_status = value;
  } else if (name == "grpc-message") {
    response_.grpc_message = value;
  } else if (name == "grpc-status-details-bin") {
    response_.details = value;
  }
  return true;
}

void OutgoingCall::data(ByteView chunk) {
  if (done_ || !response_.grpc_content) {
    return;
  }
  Result<void> fed = reader_.feed(chunk, [this](ByteView message) { deliver(message); });
  if (!fed.ok()) {
    fail(std::move(fed.error()));
  }
}

void OutgoingCall::deliver(ByteView message) {
  if (done_) {
    return;
  }
  if (auto handler = on_message_) {  // a copy: it may cancel the call
    if (*handler) {
      (*handler)(message);
    }
    return;
  }
  if (has_received_) {
    fail(
        internal("cardinality violation: expected <EOF> for non server-streaming RPCs, but "
                 "received another message"));
    return;
  }
  has_received_ = true;
  received_ = message;
}

Result<void> OutgoingCall::outcome(std::uint32_t error_code) const {
  if (!response_.grpc_status.empty()) {
    return decode_status(response_.grpc_status, response_.grpc_message, response_.details);
  }
  if (response_.http_status != 0 && response_.http_status != 200) {
    return error_of_http_status(response_.http_status);
  }
  if (error_code != NGHTTP2_NO_ERROR || !response_.ended) {
    return error_of_reset(error_code);
  }
  if (!response_.grpc_content) {
    return Error{Code::kUnknown,
                 fmt::format("unexpected HTTP status code received from server: {} (OK); malformed "
                             "header: no gRPC content-type",
                             response_.http_status)};
  }
  return internal("server closed the stream without sending trailers");
}

// The server is done; it need not wait for our half.
void OutgoingCall::response_ended() {
  if (done_) {
    return;
  }
  response_.ended = true;
  ClientConnection* connection = std::exchange(connection_, nullptr);
  if (connection != nullptr && !(ended && queue.empty())) {
    nghttp2_submit_rst_stream(connection->h2(), NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    connection->request_flush();
  }
  complete(outcome(NGHTTP2_NO_ERROR));
}

bool OutgoingCall::prepare_retry() {
  if (attempts_ >= kAttemptsMax || !queue.retains() || response_.started) {
    return false;
  }
  queue.rewind();
  headers_sent_ = false;
  connection_ = nullptr;
  return true;
}

bool OutgoingCall::stream_closed(std::uint32_t error_code) {
  if (done_) {
    return false;
  }
  connection_ = nullptr;
  bool unprocessed = error_code == NGHTTP2_REFUSED_STREAM || !headers_sent_;
  if (unprocessed && prepare_retry()) {
    return true;
  }
  // The server's clock may ring first; its reset then means our deadline.
  if (error_code == NGHTTP2_CANCEL && loop_.clock().steady() >= deadline_) {
    complete(deadline_exceeded("context deadline exceeded"));
  } else {
    complete(outcome(error_code));
  }
  return false;
}

bool OutgoingCall::connection_lost(const Error& why) {
  if (done_) {
    return false;
  }
  connection_ = nullptr;
  if (!headers_sent_ && prepare_retry()) {
    return true;
  }
  complete(why);
  return false;
}

// The last thing that happens; the callback may destroy the handle.
void OutgoingCall::complete(Result<void> status) {
  std::shared_ptr<OutgoingCall> self = shared_from_this();
  done_ = true;
  channel_ = nullptr;
  timer_.cancel();
  reader_.stop();
  on_message_ = nullptr;
  if (auto unary = std::exchange(unary_, nullptr)) {
    if (!status.ok()) {
      unary(std::move(status.error()));
    } else if (!has_received_) {
      unary(
          internal("cardinality violation: received no response message from "
                   "non-server-streaming RPC"));
    } else {
      unary(std::move(received_));
    }
  } else if (auto told = std::exchange(on_done_, nullptr)) {
    told(std::move(status));
  }
}

}  // namespace steeple::rpc
