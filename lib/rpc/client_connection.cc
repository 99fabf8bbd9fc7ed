// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/client_connection.h"

#include "lib/rpc/channel_core.h"

namespace steeple::rpc {
namespace {

constexpr std::uint32_t kResponseHeaderListBytesMax = 64U << 10;

}  // namespace

ClientConnection::ClientConnection(ChannelCore& channel, std::unique_ptr<io::Connection> connection,
                                   const ChannelOptions& options)
    : H2Session(channel.deps.loop, channel.scratch_, std::move(connection),
                {.server = false,
                 .streams_max = 0,
                 .header_list_bytes_max = kResponseHeaderListBytesMax,
                 .keepalive_interval = options.keepalive_interval,
                 .keepalive_timeout = options.keepalive_timeout}),
      channel_(channel.shared_from_this()),
      settings_timer_(channel.deps.loop) {}

void ClientConnection::begin(Duration settings_timeout) {
  settings_timer_.start(settings_timeout,
                        [this] { disconnect(unavailable("server preface not received in time")); });
  start();
}

bool ClientConnection::open(const std::shared_ptr<OutgoingCall>& call) {
  if (!accepts_calls() || !call->open_on(*this)) {
    return false;
  }
  calls_.emplace(call->id, call);
  return true;
}

void ClientConnection::drain() {
  leaving_ = true;
  if (disconnected()) {
    return;
  }
  nghttp2_submit_goaway(h2(), NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  request_flush();
}

OutgoingCall* ClientConnection::find(std::int32_t stream_id) {
  auto found = calls_.find(stream_id);
  return found == calls_.end() ? nullptr : found->second.get();
}

void ClientConnection::on_headers_begun(const nghttp2_frame&) {}

bool ClientConnection::on_header(const nghttp2_frame& frame, std::string_view name,
                                 std::string_view value) {
  OutgoingCall* call = find(frame.hd.stream_id);
  return call == nullptr || call->header(name, value);
}

void ClientConnection::on_frame(const nghttp2_frame& frame) {
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
      if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        if (OutgoingCall* call = find(frame.hd.stream_id)) {
          call->response_ended();
        }
      }
      break;
    case NGHTTP2_SETTINGS:
      if (!heard_settings_) {
        heard_settings_ = true;
        settings_timer_.cancel();
        channel_->connection_ready();
      }
      break;
    case NGHTTP2_GOAWAY:
      leaving_ = true;
      channel_->retire(*this);
      break;
    default:
      break;
  }
}

void ClientConnection::on_data(std::int32_t stream_id, ByteView data) {
  nghttp2_session_consume(h2(), stream_id, data.size());
  if (OutgoingCall* call = find(stream_id)) {
    call->data(data);
  }
}

void ClientConnection::on_frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_HEADERS) {
    if (OutgoingCall* call = find(frame.hd.stream_id)) {
      call->headers_sent();
    }
  }
}

void ClientConnection::on_stream_closed(std::int32_t stream_id, std::uint32_t error_code) {
  auto found = calls_.find(stream_id);
  if (found == calls_.end()) {
    return;
  }
  std::shared_ptr<OutgoingCall> call = std::move(found->second);
  calls_.erase(found);
  if (call->stream_closed(error_code)) {
    channel_->resubmit(call);
  }
}

bool ClientConnection::on_data_ended(H2Stream&) { return true; }

void ClientConnection::on_disconnected(const Error& why) {
  settings_timer_.cancel();
  auto calls = std::move(calls_);
  calls_.clear();
  std::shared_ptr<ChannelCore> channel = channel_;
  channel->connection_closed(*this, heard_settings_, why);
  for (auto& [id, call] : calls) {
    if (call->connection_lost(why)) {
      channel->resubmit(call);
    }
  }
}

}  // namespace steeple::rpc
