// SPDX-License-Identifier: Apache-2.0

// One client of a Server: HTTP/2 frames become calls, and the connection's own life (preface
// timeout, maximum age, draining) is kept here. On the server's loop.

#pragma once

#include <memory>
#include <unordered_map>

#include "lib/rpc/h2_session.h"
#include "lib/rpc/server_call.h"
#include "lib/rpc/server_core.h"

namespace steeple::rpc {

class ServerConnection final : public H2Session {
 public:
  ServerConnection(ServerCore& core, std::uint64_t number,
                   std::unique_ptr<io::Connection> connection);
  void begin();

  // GOAWAY in two steps (RFC 9113 6.8); what still runs after `grace` is cut off.
  void drain(Duration grace);

  std::uint64_t number() const { return number_; }  // unique in its server
  // For its calls.
  ServerCore& core() { return *core_; }
  // Bytes of incomplete or paused requests, over all calls; false when that is too much.
  bool account_input(std::ptrdiff_t change);
  // Handlers on workers, also those whose call is gone.
  bool begin_work();
  void end_work() { --working_; }

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

  ServerCall* find(std::int32_t stream_id);
  void announce_end();

  enum class Life : std::uint8_t { kPreface, kServing, kNoticed, kLeaving };

  const std::uint64_t number_;
  const std::shared_ptr<ServerCore> core_;  // until the core forgets us
  std::unordered_map<std::int32_t, std::shared_ptr<ServerCall>> calls_;
  io::Timer life_timer_;  // preface timeout, then age, then the steps of draining
  Life life_ = Life::kPreface;
  Duration grace_{};
  std::size_t input_bytes_ = 0;
  std::size_t working_ = 0;
};

}  // namespace steeple::rpc
