// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/server_connection.h"

namespace steeple::rpc {
namespace {

constexpr double kAgeJitter = 0.1;
// After the notice, the time in which calls that were on their way may still arrive. The ack of a
// ping ends it earlier: everything the client sent before it saw the notice is then here.
constexpr auto kNoticeMax = std::chrono::seconds(1);
constexpr std::uint64_t kNoticePing = 0x6e6f74696365ULL;

H2Session::Settings settings_of(const ServerOptions& options) {
  return {.server = true,
          .streams_max = options.streams_per_connection_max,
          .header_list_bytes_max = static_cast<std::uint32_t>(limits::kHeaderListBytesMax),
          .keepalive_interval = options.keepalive_interval,
          .keepalive_timeout = options.keepalive_timeout};
}

}  // namespace

ServerConnection::ServerConnection(ServerCore& core, std::uint64_t number,
                                   std::unique_ptr<io::Connection> connection)
    : H2Session(core.loop, core.scratch, std::move(connection), settings_of(core.options)),
      number_(number),
      core_(core.shared_from_this()),
      life_timer_(core.loop) {}

void ServerConnection::begin() {
  life_timer_.start(core_->options.preface_timeout, [this] {
    disconnect(deadline_exceeded("no HTTP/2 preface within the timeout"));
  });
  start();
}

void ServerConnection::drain(Duration grace) {
  if (life_ == Life::kNoticed || life_ == Life::kLeaving || disconnected()) {
    return;
  }
  life_ = Life::kNoticed;
  grace_ = grace;
  nghttp2_submit_shutdown_notice(h2());
  ping(kNoticePing);
  life_timer_.start(std::min<Duration>(kNoticeMax, grace), [this] { announce_end(); });
}

void ServerConnection::announce_end() {
  if (life_ != Life::kNoticed) {
    return;
  }
  life_ = Life::kLeaving;
  nghttp2_submit_goaway(h2(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2()),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  request_flush();
  life_timer_.start(grace_, [this] { disconnect(unavailable("drained")); });
}

bool ServerConnection::account_input(std::ptrdiff_t change) {
  input_bytes_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(input_bytes_) + change);
  return input_bytes_ <= limits::kInputBytesPerConnectionMax;
}

bool ServerConnection::begin_work() {
  // A call that was reset may still hold a worker; those count too, or resets would be free.
  if (working_ >= core_->options.streams_per_connection_max) {
    return false;
  }
  ++working_;
  return true;
}

ServerCall* ServerConnection::find(std::int32_t stream_id) {
  return static_cast<ServerCall*>(nghttp2_session_get_stream_user_data(h2(), stream_id));
}

void ServerConnection::on_headers_begun(const nghttp2_frame& frame) {
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) {
    return;
  }
  auto call = std::make_shared<ServerCall>(*this, frame.hd.stream_id);
  nghttp2_session_set_stream_user_data(h2(), frame.hd.stream_id, call.get());
  calls_.emplace(frame.hd.stream_id, std::move(call));
}

bool ServerConnection::on_header(const nghttp2_frame& frame, std::string_view name,
                                 std::string_view value) {
  if (frame.hd.type != NGHTTP2_HEADERS || frame.headers.cat != NGHTTP2_HCAT_REQUEST) {
    return true;  // request trailers carry nothing for us
  }
  ServerCall* call = find(frame.hd.stream_id);
  return call == nullptr || call->header(name, value);
}

void ServerConnection::on_frame(const nghttp2_frame& frame) {
  bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
      if (ServerCall* call = find(frame.hd.stream_id)) {
        if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
          call->headers_done(ends);
        } else if (ends) {
          call->request_ended();
        }
      }
      break;
    case NGHTTP2_DATA:
      if (ends) {
        if (ServerCall* call = find(frame.hd.stream_id)) {
          call->request_ended();
        }
      }
      break;
    case NGHTTP2_SETTINGS:
      if (life_ == Life::kPreface) {
        life_ = Life::kServing;
        life_timer_.cancel();
        if (core_->options.connection_age_max != Duration::max()) {
          life_timer_.start(core_->random.jitter(core_->options.connection_age_max, kAgeJitter),
                            [this] { drain(core_->options.connection_age_grace); });
        }
      }
      break;
    case NGHTTP2_PING: {
      std::uint64_t payload = 0;
      std::memcpy(&payload, frame.ping.opaque_data, sizeof payload);
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0 && payload == kNoticePing) {
        announce_end();
      }
      break;
    }
    default:
      break;
  }
}

void ServerConnection::on_data(std::int32_t stream_id, ByteView data) {
  if (ServerCall* call = find(stream_id)) {
    call->data(data);
  } else {
    nghttp2_session_consume_connection(h2(), data.size());
  }
}

void ServerConnection::on_frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_HEADERS && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
    if (ServerCall* call = find(frame.hd.stream_id)) {
      call->trailers_sent();
    }
  }
}

void ServerConnection::on_stream_closed(std::int32_t stream_id, std::uint32_t error_code) {
  auto found = calls_.find(stream_id);
  if (found != calls_.end()) {
    std::shared_ptr<ServerCall> call = std::move(found->second);
    calls_.erase(found);
    nghttp2_session_set_stream_user_data(h2(), stream_id, nullptr);
    call->closed(error_code);
  }
}

bool ServerConnection::on_data_ended(H2Stream& stream) {
  static_cast<ServerCall&>(stream).submit_trailers();
  return false;  // the trailers end the stream
}

// nghttp2 does not tell of streams that live when its session ends.
void ServerConnection::on_disconnected(const Error&) {
  life_timer_.cancel();
  auto calls = std::move(calls_);
  calls_.clear();
  for (auto& [id, call] : calls) {
    call->closed(NGHTTP2_CANCEL);
  }
  core_->forget(*this);
}

}  // namespace steeple::rpc
