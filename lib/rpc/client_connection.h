// SPDX-License-Identifier: Apache-2.0

// One HTTP/2 connection of a Channel. On the channel's loop.

#pragma once

#include <memory>
#include <unordered_map>

#include "lib/rpc/client_call.h"
#include "lib/rpc/h2_session.h"

namespace steeple::rpc {

class ClientConnection final : public H2Session {
 public:
  ClientConnection(ChannelCore& channel, std::unique_ptr<io::Connection> connection,
                   const ChannelOptions& options);
  void begin(Duration settings_timeout);

  // False when it takes no new calls.
  bool open(const std::shared_ptr<OutgoingCall>& call);
  bool accepts_calls() const { return !leaving_ && !disconnected(); }
  // Closes once its calls are done.
  void drain();

 private:
  void on_headers_begun(const nghttp2_frame& frame) override;
  bool on_header(const nghttp2_frame& frame, std::string_view name,
                 std::string_view value) override;
  void on_frame(const nghttp2_frame& frame) override;
  void on_data(std::int32_t stream_id, ByteView data) override;
  void on_frame_sent(const nghttp2_frame& frame) override;
  void on_stream_closed(std::int32_t stream_id, std::uint32_t error_code) override;
  bool on_data_ended(H2Stream& stream) override;
  void on_disconnected(const Error& why) override;

  OutgoingCall* find(std::int32_t stream_id);

  const std::shared_ptr<ChannelCore> channel_;
  std::unordered_map<std::int32_t, std::shared_ptr<OutgoingCall>> calls_;
  io::Timer settings_timer_;
  bool heard_settings_ = false;
  bool leaving_ = false;
};

}  // namespace steeple::rpc
